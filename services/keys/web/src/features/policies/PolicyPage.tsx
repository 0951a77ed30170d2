import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** PolicyPage shows and changes one policy. */
export function PolicyPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("policies.title")}>
      <Loading />
    </Page>
  );
}

/** NewPolicyPage creates a policy. */
export function NewPolicyPage() {
  return <PolicyPage />;
}
