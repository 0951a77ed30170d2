import { UnstyledButton } from "@mantine/core";
import { IconChevronRight } from "@tabler/icons-react";
import { useId, useState } from "react";
import classes from "./RuleEditor.module.css";

type Props = {
  label: string;
  /** What it is called by those who do not see where it is. */
  name: string;
  /** What is set inside, in short. */
  summary?: React.ReactNode;
  /** Open because something inside has to be mended. */
  must?: boolean;
  children: React.ReactNode;
};

/** Fold hides what few need; it opens by itself where something is to be mended. */
export function Fold({ label, name, summary, must = false, children }: Props) {
  const [chosen, setChosen] = useState(false);
  const id = useId();
  const open = chosen || must;
  return (
    <div className={classes.fold}>
      <UnstyledButton
        className={classes.foldButton}
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        aria-label={name}
        onClick={() => setChosen(!open)}
      >
        <IconChevronRight size={14} aria-hidden data-open={open || undefined} />
        <span>{label}</span>
        {summary && <span className={classes.summary}>{summary}</span>}
      </UnstyledButton>
      {open && (
        <div className={classes.folded} id={id}>
          {children}
        </div>
      )}
    </div>
  );
}
