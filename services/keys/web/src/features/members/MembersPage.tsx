import { useTranslation } from "react-i18next";
import { Page } from "@/shared/Page";
import { Loading } from "@/shared/states";

/** MembersPage lists the people of the organization. */
export function MembersPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("members.title")}>
      <Loading />
    </Page>
  );
}
