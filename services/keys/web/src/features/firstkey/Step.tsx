import "@/strings/late/firstkey";
import { Button } from "@mantine/core";
import { IconCheck } from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import classes from "./FirstKeyPage.module.css";

type Props = {
  number: number;
  title: string;
  /** The step that is open. */
  at: number;
  /** What was chosen, once the step is behind. */
  summary?: React.ReactNode;
  /** Goes back to this step; absent: it cannot be changed any more. */
  onChange?: ((step: number) => void) | undefined;
  children: React.ReactNode;
};

/** Step is one step of the story: ahead, open, or behind with what was chosen. */
export function Step({ number, title, at, summary, onChange, children }: Props) {
  const { t } = useTranslation();
  const body = useRef<HTMLDivElement>(null);
  const open = at === number;
  const done = at > number;
  // The step that opens gets the focus, but not the page's first one.
  const was = useRef(at);
  useEffect(() => {
    if (open && was.current !== at) {
      body.current?.querySelector<HTMLElement>("input, button")?.focus();
    }
    was.current = at;
  }, [open, at]);
  return (
    <li
      className={classes.step}
      data-state={open ? "open" : done ? "done" : "ahead"}
      aria-current={open ? "step" : undefined}
    >
      <span className={classes.number} aria-hidden>
        {done ? <IconCheck size={14} stroke={2.5} /> : number}
      </span>
      <div className={classes.stepHead}>
        <h2>{title}</h2>
        {done && summary && <span className={classes.summary}>{summary}</span>}
        {done && onChange && at < 5 && (
          <Button
            size="compact-xs"
            variant="subtle"
            onClick={() => onChange(number)}
            aria-label={t("firstKey.change", { what: title })}
          >
            {t("common.change")}
          </Button>
        )}
      </div>
      {open && (
        <div className={classes.stepBody} ref={body}>
          {children}
        </div>
      )}
    </li>
  );
}
