import "@/strings/late/credentials";
import "@/strings/late/secret";
import { Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { type Credential, CredentialState } from "@/gen/claviger/keys/v1/credential_pb";
import { Status } from "@/shared/Status";
import { providerName } from "./names";
import { reasonParts } from "./state";
import classes from "./Verdict.module.css";

type Props = {
  credential: Credential;
  /** Whether a router answered in time. */
  tested: boolean;
  onTestAgain?: () => void;
  onReplace?: () => void;
  testing?: boolean;
};

/** Verdict says in words what a live test has shown, and what to do about it. */
export function Verdict({ credential, tested, onTestAgain, onReplace, testing }: Props) {
  const { t } = useTranslation();
  const outcome = outcomeOf(credential.state, tested);
  const { what, next } = reasonParts(tested ? credential.stateReason : "");
  const provider = providerName(credential.provider);
  return (
    <div className={classes.verdict} data-tone={outcome.tone} role="status">
      <Status tone={outcome.tone}>{t(`credentials.verdict.${outcome.key}.title`, { provider })}</Status>
      {what && outcome.key !== "works" && <p>{what}</p>}
      {outcome.tone !== "bad" && tested && credential.models.length > 0 && (
        <p>{t("secret.models", { count: credential.models.length })}</p>
      )}
      <p className={classes.next}>{next || t(`credentials.verdict.${outcome.key}.next`, { provider })}</p>
      {(onTestAgain || onReplace) && outcome.key !== "works" && (
        <div className={classes.actions}>
          {onReplace && outcome.key === "rejected" && (
            <Button size="xs" onClick={onReplace}>
              {t("credentials.verdict.replace")}
            </Button>
          )}
          {onTestAgain && (
            <Button size="xs" variant="default" onClick={onTestAgain} loading={testing}>
              {t("credentials.verdict.again")}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

/** Outcome is what a test has shown. */
export type Outcome = {
  key: "works" | "degraded" | "quota" | "rejected" | "untried";
  tone: "good" | "warn" | "bad";
};

/** outcomeOf says what a test has shown. Without an answer in time, the old state says nothing. */
export function outcomeOf(state: CredentialState, tested: boolean): Outcome {
  if (!tested) return { key: "untried", tone: "warn" };
  switch (state) {
    case CredentialState.ACTIVE:
      return { key: "works", tone: "good" };
    case CredentialState.DEGRADED:
      return { key: "degraded", tone: "warn" };
    case CredentialState.QUOTA_EXHAUSTED:
      return { key: "quota", tone: "bad" };
    case CredentialState.REJECTED:
      return { key: "rejected", tone: "bad" };
    default:
      return { key: "untried", tone: "warn" };
  }
}
