import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** OverviewPage shows what is set up and what is missing. */
export function OverviewPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("overview.title")}>
      <Loading />
    </Page>
  );
}
