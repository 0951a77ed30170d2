import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** CredentialsPage lists the provider keys that the organization brought. */
export function CredentialsPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("credentials.title")}>
      <Loading />
    </Page>
  );
}
