import "@/strings/late/request";
import { useTranslation } from "react-i18next";
import { UsageSource } from "@/gen/claviger/events/v1/usage_event_pb";
import type { Attempt } from "@/gen/claviger/metering/v1/usage_pb";
import { formatCount } from "@/shared/format";
import { unitWords } from "@/shared/units";
import { isPending } from "./outcome";
import classes from "./RequestPage.module.css";
import { countsTokens, sourceOf, tokenLines, unitsOf } from "./tokens";

/** Used are the facts of what an attempt took: tokens by class, and what is counted besides. */
export function Used({ attempt, withSource }: { attempt: Attempt; withSource?: boolean }) {
  const { t } = useTranslation();
  const event = attempt.event;
  if (!event) return null;
  const units = unitsOf(event);
  const none = event.usageSource === UsageSource.NONE;
  const source = withSource && !none && !isPending(event) && (
    <div className={classes.quiet}>{t(`requests.attempt.sources.${sourceOf(event.usageSource)}`)}</div>
  );
  return (
    <>
      {(units.length === 0 || countsTokens(event)) && (
        <Fact name={t("requests.one.tokens")}>
          {isPending(event) ? (
            t("requests.one.tokensPending")
          ) : !event.tokens || none ? (
            t(none ? "requests.one.tokensNone" : "requests.one.tokensUnknown")
          ) : (
            <ul className={classes.tokens}>
              {tokenLines(event.tokens).map(({ name, count, part }) => (
                <li key={name} data-part={part || undefined}>
                  <span>{t(`requests.tokens.${name}`)}</span>
                  <span className="num">{formatCount(count)}</span>
                </li>
              ))}
            </ul>
          )}
          {source}
        </Fact>
      )}
      {units.length > 0 && (
        <Fact name={t("requests.one.units")}>
          <ul className={classes.units}>
            {units.map((unit) => (
              <li key={unit.name}>{unitWords(t, unit, event.operation === "videos")}</li>
            ))}
          </ul>
          {!countsTokens(event) && source}
        </Fact>
      )}
    </>
  );
}

/** Fact is a fact with its name, in a list of such. */
export function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
