import "@/strings/late/routing";
import { useQuery } from "@connectrpc/connect-query";
import { useTranslation } from "react-i18next";
import { ModelService, RoutingService } from "@/gen/claviger/keys/v1/routing_pb";
import { useSession } from "@/session/context";
import { Page } from "@/shared/Page";
import { Loaded } from "@/shared/states";
import { ApprovedModels } from "./ApprovedModels";
import { PreferencesForm } from "./PreferencesForm";

/** RoutingPage is what holds for every request of the organization. */
export function RoutingPage() {
  const { t } = useTranslation();
  const { may } = useSession();
  const preferences = useQuery(RoutingService.method.getRoutingPreferences, {});
  const approved = useQuery(ModelService.method.getApprovedModels, {});
  return (
    <Page
      title={t("routing.title")}
      description={
        <>
          {t("routing.description")} {!may.manageRouting && t("routing.ownerOnly")}
        </>
      }
    >
      <Loaded query={preferences} errorTitle={t("routing.failed")} rows={8}>
        {(answer) => <PreferencesForm read={answer} />}
      </Loaded>
      <Loaded query={approved} errorTitle={t("routing.approved.failed")} rows={3}>
        {(answer) => <ApprovedModels read={answer} />}
      </Loaded>
    </Page>
  );
}
