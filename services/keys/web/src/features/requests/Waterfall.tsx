import "@/strings/late/request";
import { useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Span } from "@/gen/claviger/metering/v1/trace_pb";
import { durationOf } from "./outcome";
import { type Step, waterfall } from "./steps";
import classes from "./Waterfall.module.css";

/** Waterfall draws the steps of a request as nested bars by time. */
export function Waterfall({ spans }: { spans: readonly Span[] }) {
  const { t } = useTranslation();
  const { steps, duration } = useMemo(() => waterfall(spans), [spans]);
  const [at, setAt] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const chosen = steps[Math.min(at, steps.length - 1)];

  const go = (to: number) => {
    const index = Math.max(0, Math.min(steps.length - 1, to));
    setAt(index);
    list.current?.querySelectorAll<HTMLElement>('[role="treeitem"]')[index]?.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const moves: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      ArrowLeft: parentOf(steps, at),
      ArrowRight: at + 1,
      Home: 0,
      End: steps.length - 1,
    };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  };

  return (
    <div className={classes.waterfall}>
      <div className={classes.head}>
        <span>{t("requests.trace.total", { count: steps.length, duration: durationOf(duration) })}</span>
        <span className={classes.scale} aria-hidden>
          {[0, 0.25, 0.5, 0.75].map((part) => (
            <span key={part}>{part === 0 ? "0" : durationOf(Math.round(duration * part))}</span>
          ))}
        </span>
      </div>
      <div
        role="tree"
        aria-label={t("requests.trace.tree")}
        className={classes.tree}
        ref={list}
        onKeyDown={onKeyDown}
        tabIndex={-1}
      >
        {steps.map((step, index) => (
          <Row key={step.span.spanId} step={step} chosen={index === at} onChoose={() => setAt(index)} />
        ))}
      </div>
      {chosen && <Facts step={chosen} />}
    </div>
  );
}

function Row({ step, chosen, onChoose }: { step: Step; chosen: boolean; onChoose: () => void }) {
  const { t } = useTranslation();
  const { span, depth, start, duration, left, width } = step;
  // After the bar, or before it, or in it: where there is room.
  const place = left + width < 76 ? "after" : left > 24 ? "before" : "in";
  const placed = {
    after: { insetInlineStart: `${left + width}%` },
    before: { insetInlineEnd: `${100 - left}%` },
    in: { insetInlineStart: `${left}%` },
  };
  return (
    <div
      role="treeitem"
      aria-level={depth + 1}
      aria-selected={chosen}
      aria-label={[
        t("requests.trace.span", {
          service: span.service,
          name: span.name,
          duration: durationOf(duration),
          start: durationOf(start),
        }),
        span.error && t("requests.trace.failedSpan"),
      ]
        .filter(Boolean)
        .join(", ")}
      tabIndex={chosen ? 0 : -1}
      className={classes.row}
      data-service={span.service}
      data-error={span.error || undefined}
      onFocus={onChoose}
    >
      <span className={classes.label} style={{ paddingInlineStart: `${depth * 0.875}rem` }}>
        <span className={classes.service}>{span.service}</span>
        <span className={classes.name}>{span.name}</span>
      </span>
      <span className={classes.track}>
        <span className={classes.bar} style={{ insetInlineStart: `${left}%`, width: `${width}%` }} />
        <span className={classes.time} data-place={place} style={placed[place]}>
          {span.error && `${t("requests.trace.failedSpan")} · `}
          {durationOf(duration)}
        </span>
      </span>
    </div>
  );
}

function Facts({ step: { span, start, duration } }: { step: Step }) {
  const { t } = useTranslation();
  const attributes = Object.entries(span.attributes).sort(([a], [b]) => a.localeCompare(b));
  return (
    <section
      className={classes.facts}
      aria-live="polite"
      aria-label={t("requests.trace.attributes", { name: span.name })}
    >
      <h3>{span.name}</h3>
      <dl>
        <div>
          <dt>{t("requests.trace.service")}</dt>
          <dd>{span.service}</dd>
        </div>
        <div>
          <dt>{t("requests.trace.start")}</dt>
          <dd className="num">{durationOf(start)}</dd>
        </div>
        <div>
          <dt>{t("requests.trace.duration")}</dt>
          <dd className="num">{durationOf(duration)}</dd>
        </div>
        {attributes.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <code>{value}</code>
            </dd>
          </div>
        ))}
      </dl>
      {attributes.length === 0 && <p>{t("requests.trace.noAttributes")}</p>}
    </section>
  );
}

// The step that one belongs to: the nearest above it that is less deep.
function parentOf(steps: readonly Step[], at: number): number {
  const depth = steps[at]?.depth ?? 0;
  for (let index = at - 1; index >= 0; index--) {
    if ((steps[index]?.depth ?? 0) < depth) return index;
  }
  return at;
}
