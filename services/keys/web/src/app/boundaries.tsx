import { Button } from "@mantine/core";
import { type ErrorComponentProps, Link, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";
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
    <Page title={t("shell.notFound.title")} description={t("shell.notFound.body")} narrow>
      <div>
        <Button variant="default" component={Link} to="/">
          {t("shell.notFound.action")}
        </Button>
      </div>
    </Page>
  );
}

/** NothingHere is NotFound where no organization's frame is around it. */
export function NothingHere() {
  return (
    <main className={classes.frame}>
      <NotFound />
    </main>
  );
}
