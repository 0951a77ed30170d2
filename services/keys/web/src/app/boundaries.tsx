import { Button } from "@mantine/core";
import { IconMap2 } from "@tabler/icons-react";
import { type ErrorComponentProps, Link, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { Empty, Loading } from "@/shared/states";
import classes from "./boundaries.module.css";

/** Pending stands for a page whose script is on its way. */
export function Pending() {
  return (
    <div className={classes.frame}>
      <Loading rows={5} />
    </div>
  );
}

/** PageFailed stands for a page that could not be drawn. */
export function PageFailed({ error, reset }: ErrorComponentProps) {
  const { t } = useTranslation();
  const router = useRouter();
  return (
    <div className={classes.frame}>
      <ProblemPanel
        title={t("errors.page")}
        error={error}
        onRetry={() => {
          reset();
          void router.invalidate();
        }}
      />
    </div>
  );
}

/** NotFound stands for a page that does not exist. */
export function NotFound() {
  const { t } = useTranslation();
  return (
    <div className={classes.frame}>
      <Empty
        icon={IconMap2}
        title={t("shell.notFound.title")}
        action={
          <Button variant="default" component={Link} to="/">
            {t("shell.notFound.action")}
          </Button>
        }
      >
        {t("shell.notFound.body")}
      </Empty>
    </div>
  );
}
