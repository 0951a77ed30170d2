import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** RequestsPage lists the newest requests. */
export function RequestsPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("requests.title")}>
      <Loading />
    </Page>
  );
}
