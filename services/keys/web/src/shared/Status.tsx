import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleMinus,
  IconCircleX,
  IconLoader2,
} from "@tabler/icons-react";
import classes from "./Status.module.css";

const glyphs = {
  good: IconCircleCheck,
  warn: IconAlertTriangle,
  bad: IconCircleX,
  quiet: IconCircleMinus,
  busy: IconLoader2,
};

/** Status is a state in a word, with an icon and a color that say the same. */
export function Status({ tone, children }: { tone: keyof typeof glyphs; children: React.ReactNode }) {
  const Glyph = glyphs[tone];
  return (
    <span className={classes.status} data-tone={tone}>
      <Glyph size={16} stroke={1.9} aria-hidden />
      <span>{children}</span>
    </span>
  );
}
