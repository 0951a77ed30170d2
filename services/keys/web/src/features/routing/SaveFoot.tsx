import "@/strings/late/routing";
import { Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import classes from "./RoutingPage.module.css";
import type { Saving } from "./useSaving";

type Props<T> = { saving: Saving<T>; label: string; failed: string };

/** SaveFoot ends a form: what somebody else has saved, why saving failed, and the button. */
export function SaveFoot<T>({ saving, label, failed }: Props<T>) {
  const { t } = useTranslation();
  const { theirs, save, changed } = saving;
  return (
    <>
      {theirs && (
        <div className={classes.conflict} role="alert">
          <p>
            <strong>{t("routing.conflict.title")}</strong> {t("routing.conflict.body")}
          </p>
          <div className={classes.buttons}>
            <Button size="xs" variant="default" onClick={saving.take} disabled={save.busy}>
              {t("routing.conflict.take")}
            </Button>
            <Button
              size="xs"
              variant="default"
              onClick={() => void save.run(theirs.etag)}
              loading={save.busy}
            >
              {t("routing.conflict.overwrite")}
            </Button>
          </div>
        </div>
      )}
      {save.error !== null && !theirs && <ProblemPanel title={failed} error={save.error} />}
      <div>
        <Button type="submit" disabled={!changed} loading={save.busy}>
          {label}
        </Button>
      </div>
    </>
  );
}
