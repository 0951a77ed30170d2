import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** UsagePage shows usage over time. */
export function UsagePage() {
  const { t } = useTranslation();
  return (
    <Page title={t("usage.title")}>
      <Loading />
    </Page>
  );
}
