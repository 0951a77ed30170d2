import "@/strings/late/credentials";
import "@/strings/late/credential";
import "@/strings/late/secret";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Button } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import {
  type Credential,
  CredentialService,
  CredentialState,
  type PreviousSecret,
  type StagedSecret,
} from "@/gen/claviger/keys/v1/credential_pb";
import { useClient, useSession } from "@/session/context";
import { ConfirmDialog } from "@/shared/ConfirmDialog";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { done, failed } from "@/shared/errors/toast";
import { relativeTime } from "@/shared/format";
import { Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Time } from "@/shared/Time";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { providerName } from "./names";
import { providerOf } from "./providers";
import classes from "./Rotation.module.css";
import { draftOf, SecretForm } from "./secret/SecretForm";
import { reasonParts, stateOf } from "./state";

type Props = { credential: Credential };

// Good steps: a sign of life, a fair sample, all.
const steps = [0, 1, 10, 100] as const;

/** Rotation changes to a new key in steps: staged, tested, a share of the requests, promoted; the old one kept until it is safe to revoke. */
export function Rotation({ credential }: Props) {
  const { t } = useTranslation();
  const { may } = useSession();
  const [staging, setStaging] = useState(false);
  const { next, previous } = credential;
  // Whatever else its state says, it serves while it is neither bad nor switched off.
  const { key, tone } = stateOf(credential.state);
  const out = tone === "bad" || tone === "quiet";
  return (
    <Section title={t("credential.rotation.title")} description={t("credential.rotation.description")}>
      <Panel flush>
        <ul className={classes.secrets}>
          <li className={classes.secret}>
            <div className={classes.head}>
              {out ? (
                <Status tone={tone}>{t(`credentials.states.${key}`)}</Status>
              ) : (
                <Status tone="good">{t("credential.rotation.serves")}</Status>
              )}
              <Which hint={credential.hint} revision={credential.revision} />
              {next && next.sharePercent > 0 && (
                <span className={classes.share}>
                  {t("credential.rotation.shareNow", { share: 100 - next.sharePercent })}
                </span>
              )}
            </div>
            <Used time={credential.lastUseTime} />
          </li>
          {next && <Second credential={credential} next={next} />}
          {previous && <Old credential={credential} previous={previous} />}
        </ul>
        {may.manageCredentials && !next && (
          <div className={classes.foot}>
            {staging ? (
              <Stage credential={credential} onClose={() => setStaging(false)} />
            ) : (
              <Button variant="default" size="xs" onClick={() => setStaging(true)}>
                {t("credential.rotation.stage")}
              </Button>
            )}
          </div>
        )}
      </Panel>
    </Section>
  );
}

function Which({ hint, revision }: { hint: string; revision: number }) {
  const { t } = useTranslation();
  return (
    <span>
      <code>{hint}</code>{" "}
      <span className={classes.quiet}>{t("credential.rotation.revision", { revision })}</span>
    </span>
  );
}

function Used({ time }: { time: Credential["lastUseTime"] }) {
  const { t } = useTranslation();
  return (
    <p className={classes.quiet}>
      {time ? (
        <>
          {t("credential.rotation.lastUse")} <Time value={time} />
        </>
      ) : (
        t("credential.rotation.notUsed")
      )}
    </p>
  );
}

// Takes the second key. It is sent at once, and nothing of it is kept.
function Stage({ credential, onClose }: Props & { onClose: () => void }) {
  const { t } = useTranslation();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const provider = providerOf(credential.provider);
  const [draft, setDraft] = useState(() => draftOf(credential.settings));
  const [again, setAgain] = useState(false);
  const action = useAction(async (secret: string) => {
    const { id, etag } = credential;
    const { warnings } = await once((idempotencyKey) =>
      client.stageSecret({ id, etag, secret, idempotencyKey }),
    );
    done(t("credential.rotation.staged"));
    for (const { field, description } of warnings) done(`${t("secret.warned")}: ${field} ${description}`);
    await refresh(CredentialService);
    onClose();
  });
  return (
    <div className={classes.stage}>
      {action.error !== null && (
        <ProblemPanel title={t("credential.rotation.failed")} error={action.error} beside />
      )}
      <SecretForm
        provider={provider}
        draft={draft}
        errors={action.error === null ? undefined : problemOf(action.error).fields}
        again={again && action.error !== null ? t("credentials.rotate.again") : undefined}
        label={t("credential.rotation.second")}
        hint={t("credential.rotation.stageHint", { provider: provider.name })}
        submit={t("credential.rotation.stage")}
        busy={action.busy}
        onCancel={onClose}
        onTake={(taken) => {
          setDraft(taken.draft);
          setAgain(true);
          void action.run(taken.secret);
        }}
      />
    </div>
  );
}

function Second({ credential, next }: Props & { next: StagedSecret }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [asking, setAsking] = useState<"promote" | "discard" | null>(null);
  const { id, etag, label } = credential;
  const { revision, sharePercent } = next;
  const provider = providerName(credential.provider);
  const { key, tone } = stateOf(next.state);
  const reason = reasonParts(next.stateReason);
  const refused = next.state === CredentialState.REJECTED;

  const share = useAction(async (percent: number) => {
    try {
      await once((idempotencyKey) =>
        client.setSecretShare({ id, etag, revision, sharePercent: percent, idempotencyKey }),
      );
      done(t("credential.rotation.shareDone", { label, share: percent }));
    } catch (error) {
      failed(t("credential.rotation.shareFailed"), error);
    }
    await refresh(CredentialService);
  });
  const test = useAction(async () => {
    try {
      await client.testCredential({ id, revision });
    } catch (error) {
      failed(t("credential.rotation.testFailed"), error);
    }
    await refresh(CredentialService);
  });

  return (
    <li className={classes.secret}>
      <div className={classes.head}>
        <Status tone={test.busy ? "busy" : tone}>
          {test.busy ? t("credential.rotation.testing") : t(`credentials.states.${key}`)}
        </Status>
        <Which hint={next.hint} revision={revision} />
        <span className={classes.share}>
          {sharePercent > 0
            ? t("credential.rotation.shareNow", { share: sharePercent })
            : t("credential.rotation.shareNone")}
        </span>
      </div>
      <Used time={next.lastUseTime} />
      {next.rolledBack && (
        <div className={classes.alarm} role="alert">
          <strong>{t("credential.rotation.rolledBack", { provider })}</strong>{" "}
          {t("credential.rotation.rolledBackHint")}
        </div>
      )}
      {tone !== "good" && reason.what && (
        <p className={classes.quiet}>
          {reason.what} {reason.next}
        </p>
      )}
      {may.manageCredentials && (
        <div className={classes.actions}>
          <fieldset className={classes.steps}>
            <legend>{t("credential.rotation.share")}</legend>
            {steps.map((percent) => (
              <Button
                key={percent}
                size="compact-sm"
                variant={percent === sharePercent ? "filled" : "default"}
                aria-pressed={percent === sharePercent}
                aria-label={t("credential.rotation.shareLabel", { share: percent })}
                disabled={share.busy || (refused && percent > 0)}
                onClick={() => percent !== sharePercent && void share.run(percent)}
              >
                {percent} %
              </Button>
            ))}
          </fieldset>
          <div className={classes.buttons}>
            <Button size="xs" variant="default" loading={test.busy} onClick={() => void test.run()}>
              {t("credential.rotation.test")}
            </Button>
            <Button size="xs" disabled={refused} onClick={() => setAsking("promote")}>
              {t("credential.rotation.promote")}
            </Button>
            <Button size="xs" variant="subtle" color="gray" onClick={() => setAsking("discard")}>
              {t("credential.rotation.discard")}
            </Button>
          </div>
        </div>
      )}
      <ConfirmDialog
        opened={asking === "promote"}
        onClose={() => setAsking(null)}
        title={t("credential.rotation.promoteTitle")}
        confirm={t("credential.rotation.promote")}
        onConfirm={async () => {
          await once((idempotencyKey) => client.promoteSecret({ id, etag, revision, idempotencyKey }));
          done(t("credential.rotation.promoted", { label }));
          await refresh(CredentialService);
        }}
      >
        {t("credential.rotation.promoteBody", { label, provider })}{" "}
        {sharePercent < 100 && t("credential.rotation.promoteEarly", { share: sharePercent })}
      </ConfirmDialog>
      <ConfirmDialog
        opened={asking === "discard"}
        onClose={() => setAsking(null)}
        title={t("credential.rotation.discardSecond")}
        confirm={t("credential.rotation.discard")}
        onConfirm={async () => {
          await once((idempotencyKey) => client.discardSecret({ id, etag, revision, idempotencyKey }));
          done(t("credential.rotation.discarded", { label }));
          await refresh(CredentialService);
        }}
      >
        {t("credential.rotation.discardBody")}
      </ConfirmDialog>
    </li>
  );
}

// Says whether the old key may be revoked at the provider, and if not, what that waits for.
function Old({ credential, previous }: Props & { previous: PreviousSecret }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [asking, setAsking] = useState(false);
  const { id, etag, label } = credential;
  const { revision, safe, safeTime } = previous;
  const provider = providerName(credential.provider);
  const why = safe
    ? t("credential.rotation.safeWhy")
    : safeTime
      ? t("credential.rotation.notSafeUntil", { when: relativeTime(timestampMs(safeTime), Date.now()) })
      : t("credential.rotation.notSafeUnknown");
  return (
    <li className={classes.secret}>
      <div className={classes.head}>
        <Status tone={safe ? "good" : "warn"}>
          {safe ? t("credential.rotation.safe", { provider }) : t("credential.rotation.notSafe")}
        </Status>
        <Which hint={previous.hint} revision={revision} />
        <span className={classes.quiet}>{t("credential.rotation.old")}</span>
      </div>
      <p className={classes.quiet}>{why}</p>
      <Used time={previous.lastUseTime} />
      {may.manageCredentials && (
        <div className={classes.actions}>
          <Button size="xs" variant="default" onClick={() => setAsking(true)}>
            {t("credential.rotation.forget")}
          </Button>
        </div>
      )}
      <ConfirmDialog
        opened={asking}
        onClose={() => setAsking(false)}
        title={t("credential.rotation.forgetTitle")}
        confirm={t("credential.rotation.forget")}
        onConfirm={async () => {
          await once((idempotencyKey) => client.discardSecret({ id, etag, revision, idempotencyKey }));
          done(t("credential.rotation.forgotten", { label }));
          await refresh(CredentialService);
        }}
      >
        {t("credential.rotation.forgetBody", { provider })} {!safe && why}
      </ConfirmDialog>
    </li>
  );
}
