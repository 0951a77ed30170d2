import { Title } from "@mantine/core";
import { useEffect, useRef } from "react";
import classes from "./Page.module.css";

type Props = {
  title: string;
  /** One line under the title. */
  description?: React.ReactNode;
  /** Buttons at the right of the title. */
  actions?: React.ReactNode;
  /** Narrow pages are for forms and reading. */
  narrow?: boolean;
  children: React.ReactNode;
};

/** Page is the frame of every page: its title, which also names the tab, and its actions. */
export function Page({ title, description, actions, narrow, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Claviger`;
  }, [title]);
  // Those who do not see the page change hear where they are. Not on the first page: the browser does.
  useEffect(() => {
    if (document.body.dataset["navigated"]) heading.current?.focus({ preventScroll: true });
    document.body.dataset["navigated"] = "true";
  }, []);
  return (
    <div className={classes.page} data-narrow={narrow || undefined}>
      <header className={classes.head}>
        <div className={classes.words}>
          <Title order={1} ref={heading} tabIndex={-1}>
            {title}
          </Title>
          {description && <p className={classes.description}>{description}</p>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** Section is a part of a page with a heading of its own. */
export function Section({
  title,
  description,
  actions,
  children,
}: Pick<Props, "description" | "actions" | "children"> & { title?: string }) {
  return (
    <section className={classes.section}>
      {(title || actions) && (
        <div className={classes.sectionHead}>
          <div>
            {title && <Title order={2}>{title}</Title>}
            {description && <p className={classes.description}>{description}</p>}
          </div>
          {actions && <div className={classes.actions}>{actions}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

/** Panel is a quiet box. */
export function Panel({ children, flush }: { children: React.ReactNode; flush?: boolean }) {
  return (
    <div className={classes.panel} data-flush={flush || undefined}>
      {children}
    </div>
  );
}
