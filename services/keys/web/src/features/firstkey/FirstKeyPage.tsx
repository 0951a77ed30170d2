import { Anchor, Button, Checkbox, TextInput } from "@mantine/core";
import { IconArrowRight, IconExternalLink, IconKey, IconLock, IconRoute } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { isUrl, looksLikeKey } from "@/features/credentials/checks";
import { type Provider, providers } from "@/features/credentials/providers";
import { outcomeOf, Verdict } from "@/features/credentials/Verdict";
import { useSession } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { Page } from "@/shared/Page";
import { emptySecret, SecretInput, takeSecret } from "@/shared/SecretInput";
import { Status } from "@/shared/Status";
import { Empty } from "@/shared/states";
import classes from "./FirstKeyPage.module.css";
import { Step } from "./Step";
import { useFirstKey } from "./useFirstKey";

/** FirstKeyPage leads from a provider's key to a tested credential. */
export function FirstKeyPage() {
  const { t } = useTranslation();
  const { may } = useSession();
  return (
    <Page title={t("firstKey.title")} description={t("firstKey.description")} narrow>
      {may.manageCredentials ? (
        <Story />
      ) : (
        <Empty icon={IconLock} title={t("firstKey.ownerOnly.title")}>
          {t("firstKey.ownerOnly.body")}
        </Empty>
      )}
    </Page>
  );
}

function Story() {
  const [round, setRound] = useState(0);
  return <Steps key={round} onAgain={() => setRound(round + 1)} />;
}

function Steps({ onAgain }: { onAgain: () => void }) {
  const { t } = useTranslation();
  const first = useFirstKey();
  const { step, provider, label, baseUrl, end } = first;
  const kept = end ? `…${end}` : first.credential?.hint;
  return (
    <ol className={classes.steps}>
      <Step
        number={1}
        title={t("firstKey.steps.provider")}
        at={step}
        summary={provider.name}
        onChange={first.goTo}
      >
        <ProviderStep value={provider} onChoose={first.choose} />
      </Step>
      <Step
        number={2}
        title={t("firstKey.steps.key")}
        at={step}
        summary={kept && <code>{kept}</code>}
        onChange={first.goTo}
      >
        <KeyStep provider={provider} again={first.again} error={first.create.error} onKey={first.keep} />
      </Step>
      <Step
        number={3}
        title={t("firstKey.steps.name")}
        at={step}
        summary={`${label} · ${baseUrl || t("firstKey.name.ownAddress", { provider: provider.name })}`}
        onChange={first.goTo}
      >
        <NameStep
          provider={provider}
          label={label}
          baseUrl={baseUrl}
          taken={first.taken}
          onName={first.name}
        />
      </Step>
      <Step
        number={4}
        title={t("firstKey.steps.terms")}
        at={step}
        summary={t("firstKey.terms.accepted")}
        onChange={first.goTo}
      >
        <TermsStep provider={provider} onAccept={() => void first.store()} />
      </Step>
      <Step number={5} title={t("firstKey.steps.test")} at={step}>
        <TestStep first={first} onAgain={onAgain} />
      </Step>
    </ol>
  );
}

function ProviderStep({ value, onChoose }: { value: Provider; onChoose: (provider: Provider) => void }) {
  const { t } = useTranslation();
  const [chosen, setChosen] = useState(value.slug);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const provider = providers.find(({ slug }) => slug === chosen);
        if (provider) onChoose(provider);
      }}
    >
      <fieldset className={classes.choices}>
        <legend className="visually-hidden">{t("firstKey.provider.legend")}</legend>
        {providers.map(({ slug, name }) => (
          <label key={slug} className={classes.choice}>
            <input
              type="radio"
              name="provider"
              value={slug}
              aria-label={name}
              aria-describedby={`about-${slug}`}
              checked={chosen === slug}
              onChange={() => setChosen(slug)}
            />
            <span>
              <span className={classes.choiceName}>{name}</span>
              <span className={classes.quiet} id={`about-${slug}`}>
                {t(`firstKey.provider.${slug}` as "firstKey.provider.openai")}
              </span>
            </span>
          </label>
        ))}
      </fieldset>
      <Button type="submit">{t("common.next")}</Button>
    </form>
  );
}

function KeyStep({
  provider,
  again,
  error,
  onKey,
}: {
  provider: Provider;
  again: boolean;
  error: unknown;
  onKey: (secret: string) => void;
}) {
  const { t } = useTranslation();
  const input = useRef<HTMLInputElement>(null);
  const [malformed, setMalformed] = useState(false);
  return (
    <form
      className={classes.form}
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        const secret = input.current?.value.trim() ?? "";
        setMalformed(!looksLikeKey(secret));
        if (!looksLikeKey(secret)) return input.current?.focus();
        onKey(takeSecret(input.current));
      }}
    >
      {again && error !== null && <ProblemPanel title={t("firstKey.failed")} error={error} />}
      <SecretInput
        ref={input}
        label={t("firstKey.key.label", { provider: provider.name })}
        description={t("firstKey.key.hint")}
        placeholder={provider.keyExample}
        error={malformed ? t("firstKey.key.malformed") : again ? t("firstKey.key.again") : undefined}
      />
      <Anchor href={provider.keysUrl} target="_blank" rel="noreferrer" size="sm" className={classes.out}>
        {t("firstKey.key.make", { provider: provider.name })}
        <IconExternalLink size={14} aria-hidden />
      </Anchor>
      <Button type="submit">{t("common.next")}</Button>
    </form>
  );
}

function NameStep({
  provider,
  label,
  baseUrl,
  taken,
  onName,
}: {
  provider: Provider;
  label: string;
  baseUrl: string;
  taken: (label: string) => boolean;
  onName: (label: string, baseUrl: string) => void;
}) {
  const { t } = useTranslation();
  const [draft, setDraft] = useState(label);
  const [url, setUrl] = useState(baseUrl);
  const [tried, setTried] = useState(false);
  const trimmed = draft.trim();
  const labelError = !trimmed
    ? t("firstKey.name.missing")
    : taken(trimmed)
      ? t("firstKey.name.taken")
      : undefined;
  const urlError = url.trim() && !isUrl(url.trim()) ? t("firstKey.name.baseUrlBad") : undefined;
  return (
    <form
      className={classes.form}
      onSubmit={(event) => {
        event.preventDefault();
        setTried(true);
        if (!labelError && !urlError) onName(trimmed, provider.baseUrl ? url.trim() : "");
      }}
    >
      <TextInput
        label={t("firstKey.name.label")}
        description={t("firstKey.name.hint")}
        value={draft}
        maxLength={80}
        autoComplete="off"
        error={(tried || taken(trimmed)) && labelError}
        onChange={(event) => setDraft(event.currentTarget.value)}
      />
      {provider.baseUrl && (
        <TextInput
          label={t("firstKey.name.baseUrl")}
          description={t("firstKey.name.baseUrlHint")}
          placeholder="https://"
          type="url"
          inputMode="url"
          value={url}
          maxLength={512}
          autoComplete="off"
          spellCheck={false}
          error={tried && urlError}
          onChange={(event) => setUrl(event.currentTarget.value)}
        />
      )}
      <Button type="submit">{t("common.next")}</Button>
    </form>
  );
}

function TermsStep({ provider, onAccept }: { provider: Provider; onAccept: () => void }) {
  const { t } = useTranslation();
  const [accepted, setAccepted] = useState(false);
  const [tried, setTried] = useState(false);
  return (
    <form
      className={classes.form}
      onSubmit={(event) => {
        event.preventDefault();
        setTried(true);
        if (accepted) onAccept();
      }}
    >
      <div>
        <p className={classes.factsTitle}>{t("firstKey.terms.what")}</p>
        <ul className={classes.facts}>
          <li>{t("firstKey.terms.sealed", { provider: provider.name })}</li>
          <li>{t("firstKey.terms.test")}</li>
          <li>{t("firstKey.terms.logs")}</li>
        </ul>
      </div>
      <Checkbox
        checked={accepted}
        onChange={(event) => setAccepted(event.currentTarget.checked)}
        label={t("firstKey.terms.accept", { provider: provider.name })}
        error={tried && !accepted && t("firstKey.terms.missing")}
      />
      <Button type="submit">{t("firstKey.submit")}</Button>
    </form>
  );
}

function TestStep({ first, onAgain }: { first: ReturnType<typeof useFirstKey>; onAgain: () => void }) {
  const { t } = useTranslation();
  const { org } = useSession();
  const { credential, provider, result } = first;
  const [replacing, setReplacing] = useState(false);
  if (!credential) return <Status tone="busy">{t("firstKey.storing")}</Status>;
  // With a key that the provider refuses there is nothing to go on with.
  const refused = result && outcomeOf(result.credential.state, result.tested).key === "rejected";
  return (
    <div className={classes.form}>
      <Status tone="good">{t("firstKey.stored", { label: credential.label })}</Status>
      {first.testing && <Status tone="busy">{t("firstKey.testing", { provider: provider.name })}</Status>}
      {first.test.error !== null && (
        <ProblemPanel
          title={t("firstKey.testFailed")}
          error={first.test.error}
          onRetry={() => void first.testAgain()}
          retrying={first.testing}
        />
      )}
      {result && !replacing && !first.testing && (
        <Verdict
          credential={result.credential}
          tested={result.tested}
          onTestAgain={() => void first.testAgain()}
          onReplace={() => setReplacing(true)}
        />
      )}
      {replacing && (
        <Replace
          provider={provider}
          busy={first.replacing}
          error={first.rotate.error}
          onKey={async (secret) => {
            if (await first.replace(secret)) setReplacing(false);
          }}
        />
      )}
      {(result || first.test.error !== null) && !replacing && !first.testing && (
        <nav className={classes.next} aria-label={t("firstKey.next.title")}>
          {!refused && (
            <>
              <NextStep
                to="/o/$org/policies/new"
                org={org}
                icon={<IconRoute size={18} stroke={1.7} aria-hidden />}
                title={t("firstKey.next.policy")}
                why={t("firstKey.next.policyWhy")}
              />
              <NextStep
                to="/o/$org/api-keys"
                org={org}
                icon={<IconKey size={18} stroke={1.7} aria-hidden />}
                title={t("firstKey.next.apiKey")}
                why={t("firstKey.next.apiKeyWhy")}
              />
            </>
          )}
          <div className={classes.nextQuiet}>
            <Anchor component={Link} to="/o/$org/credentials" params={{ org } as never} size="sm">
              {t("firstKey.next.credentials")}
            </Anchor>
            <Anchor component="button" type="button" size="sm" onClick={onAgain}>
              {t("firstKey.next.another")}
            </Anchor>
          </div>
        </nav>
      )}
    </div>
  );
}

function NextStep(props: {
  to: "/o/$org/policies/new" | "/o/$org/api-keys";
  org: string;
  icon: React.ReactNode;
  title: string;
  why: string;
}) {
  return (
    <Link to={props.to} params={{ org: props.org }} className={classes.nextStep}>
      {props.icon}
      <span>
        <span className={classes.choiceName}>{props.title}</span>
        <span className={classes.quiet}>{props.why}</span>
      </span>
      <IconArrowRight size={16} aria-hidden />
    </Link>
  );
}

// The stored credential stays; only its key is another one.
function Replace({
  provider,
  busy,
  error,
  onKey,
}: {
  provider: Provider;
  busy: boolean;
  error: unknown;
  onKey: (secret: string) => Promise<void>;
}) {
  const { t } = useTranslation();
  const input = useRef<HTMLInputElement>(null);
  const [malformed, setMalformed] = useState(false);
  useEffect(() => {
    const field = input.current;
    field?.focus();
    return () => emptySecret(field);
  }, []);
  return (
    <form
      className={classes.form}
      autoComplete="off"
      aria-label={t("firstKey.replace.title")}
      onSubmit={(event) => {
        event.preventDefault();
        const ok = looksLikeKey(input.current?.value.trim() ?? "");
        setMalformed(!ok);
        if (ok) void onKey(takeSecret(input.current));
      }}
    >
      <SecretInput
        ref={input}
        label={t("firstKey.key.label", { provider: provider.name })}
        placeholder={provider.keyExample}
        error={malformed && t("firstKey.key.malformed")}
      />
      {error !== null && <ProblemPanel title={t("firstKey.replaceFailed")} error={error} />}
      <Button type="submit" loading={busy}>
        {t("firstKey.replace.submit")}
      </Button>
    </form>
  );
}
