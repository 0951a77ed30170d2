import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** AccountPage is where people change their password. */
export function AccountPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("account.title")}>
      <Loading />
    </Page>
  );
}
