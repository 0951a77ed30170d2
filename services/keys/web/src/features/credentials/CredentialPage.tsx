import "@/strings/late/credentials";
import "@/strings/late/credential";
import "@/strings/late/secret";
import { useQuery } from "@connectrpc/connect-query";
import { Anchor } from "@mantine/core";
import { IconLock } from "@tabler/icons-react";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Credential, CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { useSession } from "@/session/context";
import { Page, Panel, Section } from "@/shared/Page";
import { Empty, Loaded } from "@/shared/states";
import { useCallers } from "@/shared/useCallers";
import { CredentialActions } from "./CredentialActions";
import { Details } from "./Details";
import type { Dialog } from "./Dialogs";
import { Drills } from "./Drills";
import { Headroom } from "./Headroom";
import { providerName } from "./names";
import { Rotation } from "./Rotation";

const Dialogs = lazy(() => import("./Dialogs"));
const route = getRouteApi("/o/$org/credentials/$credentialId");

/** CredentialPage shows one credential: its keys, what is left of its limits, and drills. */
export function CredentialPage() {
  const { credentialId } = route.useParams();
  return <CredentialView id={credentialId} />;
}

/** CredentialView is the page of the credential with an id. */
export function CredentialView({ id }: { id: string }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const query = useQuery(
    CredentialService.method.getCredential,
    { id },
    {
      enabled: may.seeCredentials,
      // Verdicts and last uses arrive without us; those of a second key are waited for.
      refetchInterval: ({ state }) => (state.data?.credential?.next ? 3_000 : 10_000),
    },
  );
  const back = (
    <Anchor component={Link} to="/o/$org/credentials" params={{ org } as never} size="sm">
      {t("credential.back")}
    </Anchor>
  );
  if (!may.seeCredentials) {
    return (
      <Page title={t("credentials.title")}>
        <Panel flush>
          <Empty icon={IconLock} title={t("credentials.hidden.title")}>
            {t("credentials.hidden.body")}
          </Empty>
        </Panel>
      </Page>
    );
  }
  const credential = query.data?.credential;
  if (credential) return <Known credential={credential} back={back} />;
  return (
    <Page title={t("credentials.title")} description={back}>
      <Loaded query={query} errorTitle={t("credential.failed")}>
        {() => null}
      </Loaded>
    </Page>
  );
}

function Known({ credential, back }: { credential: Credential; back: React.ReactNode }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const navigate = useNavigate();
  const callers = useCallers();
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const close = useCallback(() => setDialog(null), []);
  const onRemoved = useCallback(
    () => void navigate({ to: "/o/$org/credentials", params: { org } }),
    [navigate, org],
  );
  return (
    <Page
      title={credential.label}
      description={
        <>
          {providerName(credential.provider)} · {back}
        </>
      }
      actions={
        may.manageCredentials && (
          <CredentialActions credential={credential} neighbours={[]} onDialog={setDialog} />
        )
      }
    >
      <Section title={t("credential.facts")}>
        <Panel>
          <Details credential={credential} callers={callers} />
        </Panel>
      </Section>
      {(may.manageCredentials || credential.next || credential.previous) && (
        <Rotation credential={credential} />
      )}
      <Headroom credential={credential} />
      <Drills credential={credential} />
      <Suspense fallback={null}>
        {dialog && <Dialogs dialog={dialog} onDialog={setDialog} onClose={close} onRemoved={onRemoved} />}
      </Suspense>
    </Page>
  );
}
