import "@/strings/late/credentials";
import "@/strings/late/credential";
import "@/strings/late/secret";
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Credential, CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { useClient } from "@/session/context";
import { CutDialog } from "@/shared/CutDialog";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { done } from "@/shared/errors/toast";
import { Status } from "@/shared/Status";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { Edit } from "./Edit";
import { providerName } from "./names";
import { providerOf } from "./providers";
import { draftOf, SecretForm } from "./secret/SecretForm";
import { Verdict } from "./Verdict";

/** Dialog is what is open over the list. */
export type Dialog = { kind: "test" | "rotate" | "edit" | "disable" | "remove"; credential: Credential };

type Props = {
  dialog: Dialog;
  onDialog: (dialog: Dialog) => void;
  onClose: () => void;
  /** Called when the credential is gone and that was seen. */
  onRemoved?: () => void;
};

/** Dialogs are what a row's buttons open. */
export default function Dialogs({ dialog, onDialog, onClose, onRemoved }: Props) {
  const { t } = useTranslation();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { kind, credential } = dialog;
  const { id, label, etag } = credential;
  const provider = providerName(credential.provider);
  // The row goes when the list is read again: not before the receipt was seen.
  const seen = (gone: boolean) => {
    onClose();
    if (gone) onRemoved?.();
    void refresh(CredentialService);
  };
  if (kind === "remove" || kind === "disable") {
    const removes = kind === "remove";
    return (
      <CutDialog
        key={kind}
        onClose={onClose}
        onSeen={() => seen(removes)}
        title={t(removes ? "credentials.remove.title" : "credential.disable.title", { label })}
        confirm={t(removes ? "credentials.remove.confirm" : "credential.disable.confirm")}
        {...(removes && { name: label, nameOf: t("credentials.remove.nameOf") })}
        done={t(removes ? "credential.removed" : "credential.disable.done", { label })}
        onConfirm={async (cutStreams) => {
          const { receipt } = await once(async (idempotencyKey) =>
            removes
              ? await client.deleteCredential({ id, cutStreams, idempotencyKey })
              : await client.updateCredential({ id, etag, disabled: true, cutStreams, idempotencyKey }),
          );
          return receipt;
        }}
      >
        {removes ? t("credentials.remove.body", { provider }) : t("credential.disable.body")}
      </CutDialog>
    );
  }
  return (
    <Modal
      opened
      onClose={onClose}
      title={t(`credentials.${kind}.title`, { label })}
      size={kind === "test" ? "md" : "lg"}
    >
      {kind === "test" && (
        <Test credential={credential} onReplace={() => onDialog({ kind: "rotate", credential })} />
      )}
      {kind === "rotate" && (
        <Rotate
          credential={credential}
          onClose={onClose}
          onTest={(changed) => onDialog({ kind: "test", credential: changed })}
        />
      )}
      {kind === "edit" && <Edit credential={credential} onClose={onClose} />}
    </Modal>
  );
}

// Tests as soon as it opens.
function Test({ credential, onReplace }: { credential: Credential; onReplace: () => void }) {
  const { t } = useTranslation();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const [result, setResult] = useState<{ credential: Credential; tested: boolean }>();
  const action = useAction(async () => {
    const answer = await client.testCredential({ id: credential.id });
    if (answer.credential) setResult({ credential: answer.credential, tested: answer.tested });
    await refresh(CredentialService);
  });
  const { run } = action;
  useEffect(() => {
    void run();
  }, [run]);
  if (action.error !== null) {
    return (
      <ProblemPanel
        title={t("credentials.test.failed")}
        error={action.error}
        onRetry={() => void run()}
        retrying={action.busy}
      />
    );
  }
  if (!result || action.busy) {
    return (
      <div role="status">
        <Status tone="busy">{t("credentials.test.running")}</Status>
      </div>
    );
  }
  return (
    <Verdict
      credential={result.credential}
      tested={result.tested}
      onTestAgain={() => void run()}
      onReplace={onReplace}
      testing={action.busy}
    />
  );
}

// Two steps: paste, then confirm what follows. The secret waits in a ref, and is gone when it was sent.
function Rotate({
  credential,
  onClose,
  onTest,
}: {
  credential: Credential;
  onClose: () => void;
  onTest: (credential: Credential) => void;
}) {
  const { t } = useTranslation();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const provider = providerOf(credential.provider);
  const secret = useRef("");
  const [shown, setShown] = useState("");
  const [draft, setDraft] = useState(() => draftOf(credential.settings));
  const [again, setAgain] = useState(false);
  const forget = () => {
    secret.current = "";
    setShown("");
  };
  useEffect(
    () => () => {
      secret.current = "";
    },
    [],
  );
  const action = useAction(async () => {
    const fresh = secret.current;
    forget();
    setAgain(true);
    const { id, etag } = credential;
    const answer = await once((idempotencyKey) =>
      client.rotateCredential({ id, etag, secret: fresh, idempotencyKey }),
    );
    done(t("credentials.done.rotated", { label: credential.label }));
    for (const { field, description } of answer.warnings)
      done(`${t("secret.warned")}: ${field} ${description}`);
    await refresh(CredentialService);
    onTest(answer.credential ?? credential);
  });

  if (shown || action.busy) {
    return (
      <Stack gap="md">
        <Text fw={600}>{t("credentials.rotate.confirmTitle")}</Text>
        <Text size="sm">{t("credentials.rotate.confirm", { provider: provider.name })}</Text>
        {shown && (
          <Text size="sm">
            {t("credentials.rotate.fingerprint")} <code>{shown}</code>
          </Text>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={forget} disabled={action.busy}>
            {t("common.back")}
          </Button>
          <Button onClick={() => void action.run()} loading={action.busy} data-autofocus>
            {t("credentials.rotate.submit")}
          </Button>
        </Group>
      </Stack>
    );
  }
  return (
    <Stack gap="md">
      {action.error !== null && (
        <ProblemPanel title={t("credentials.rotate.failed")} error={action.error} beside />
      )}
      {provider.hint && (
        <Text size="sm" c="dimmed">
          {provider.hint}
        </Text>
      )}
      <SecretForm
        provider={provider}
        draft={draft}
        errors={action.error === null ? undefined : problemOf(action.error).fields}
        again={again ? t("credentials.rotate.again") : undefined}
        label={t("credentials.rotate.key")}
        hint={t("credentials.rotate.keyHint", { provider: provider.name })}
        submit={t("common.next")}
        onCancel={onClose}
        onTake={(taken) => {
          action.clear();
          secret.current = taken.secret;
          setDraft(taken.draft);
          setShown(taken.shown);
        }}
      />
    </Stack>
  );
}
