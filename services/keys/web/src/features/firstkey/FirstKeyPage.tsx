import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** FirstKeyPage leads from a provider's key to a tested credential. */
export function FirstKeyPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("firstKey.title")}>
      <Loading />
    </Page>
  );
}
