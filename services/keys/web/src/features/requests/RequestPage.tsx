import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** RequestPage shows one request with its attempts. */
export function RequestPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("requests.title")}>
      <Loading />
    </Page>
  );
}
