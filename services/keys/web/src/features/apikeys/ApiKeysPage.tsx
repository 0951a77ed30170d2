import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** ApiKeysPage lists the API keys. */
export function ApiKeysPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("apiKeys.title")}>
      <Loading />
    </Page>
  );
}
