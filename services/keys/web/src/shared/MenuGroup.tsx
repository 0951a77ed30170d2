import classes from "./MenuGroup.module.css";

/** MenuGroup is a named part of a menu. Mantine's Menu.Label is text that a menu may not hold. */
export function MenuGroup({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is no part of a menu
    <div role="group" aria-label={label}>
      <div className={classes.label} aria-hidden>
        {label}
      </div>
      {children}
    </div>
  );
}
