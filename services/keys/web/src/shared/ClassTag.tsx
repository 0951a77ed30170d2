import { useTranslation } from "react-i18next";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import classes from "./ClassTag.module.css";

/** ClassTag says who pays the provider: the organization's own credential or the platform's. */
export function ClassTag({ of }: { of: CredentialClass }) {
  const { t } = useTranslation();
  if (of === CredentialClass.OWN) {
    return (
      <span className={classes.tag} data-class="own">
        {t("common.own")}
      </span>
    );
  }
  if (of === CredentialClass.PLATFORM) {
    return (
      <span className={classes.tag} data-class="platform">
        {t("common.platform")}
      </span>
    );
  }
  return <span className={classes.tag}>{t("common.unknown")}</span>;
}
