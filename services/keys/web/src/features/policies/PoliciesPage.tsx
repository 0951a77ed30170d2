import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** PoliciesPage lists the policies. */
export function PoliciesPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("policies.title")}>
      <Loading />
    </Page>
  );
}
