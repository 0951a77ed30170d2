import "@/strings/late/firstkey";
import "@/strings/late/secret";
import { Alert, Anchor, Button, Checkbox, TextInput } from "@mantine/core";
import {
  IconArrowRight,
  IconExternalLink,
  IconKey,
  IconLock,
  IconRoute,
  IconSearch,
} from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { BaseUrl } from "@/features/credentials/BaseUrl";
import { isUrl } from "@/features/credentials/checks";
import { matching, type Provider } from "@/features/credentials/providers";
import type { Draft } from "@/features/credentials/secret/draft";
import { draftOf, SecretForm, type Taken } from "@/features/credentials/secret/SecretForm";
import { outcomeOf, Verdict } from "@/features/credentials/Verdict";
import type { Credential } from "@/gen/claviger/keys/v1/credential_pb";
import { useSession } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { Page } from "@/shared/Page";
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
  const { step, provider, label, baseUrl, shown } = first;
  const kept = shown || first.credential?.hint;
  const host = provider.hosts?.find((host) => host.baseUrl === baseUrl)?.name;
  const whereTo = () => {
    if (baseUrl) return host ?? baseUrl;
    return provider.form === "api_key" && t("firstKey.name.ownAddress", { provider: provider.name });
  };
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
        <KeyStep
          provider={provider}
          draft={first.draft}
          again={first.again}
          error={first.create.error}
          onKey={first.keep}
        />
      </Step>
      <Step
        number={3}
        title={t("firstKey.steps.name")}
        at={step}
        summary={[label, whereTo()].filter(Boolean).join(" · ")}
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
  const [search, setSearch] = useState("");
  const found = matching(search);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const provider = found.find(({ slug }) => slug === chosen);
        if (provider) onChoose(provider);
      }}
    >
      <TextInput
        type="search"
        label={t("firstKey.provider.search")}
        placeholder={t("firstKey.provider.searchHint")}
        leftSection={<IconSearch size={15} aria-hidden />}
        value={search}
        autoComplete="off"
        spellCheck={false}
        mb="sm"
        onChange={(event) => {
          const text = event.currentTarget.value;
          setSearch(text);
          // What is not shown any more cannot be what goes on.
          const next = matching(text);
          const [first] = next;
          if (first && !next.some(({ slug }) => slug === chosen)) setChosen(first.slug);
        }}
      />
      <p className="visually-hidden" role="status">
        {search && t("firstKey.provider.found", { count: found.length })}
      </p>
      <fieldset className={classes.choices}>
        <legend className="visually-hidden">{t("firstKey.provider.legend")}</legend>
        {found.map(({ slug, name, about }) => (
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
                {about}
              </span>
            </span>
          </label>
        ))}
        {found.length === 0 && <p className={classes.quiet}>{t("firstKey.provider.none")}</p>}
      </fieldset>
      <Button type="submit" disabled={found.length === 0}>
        {t("common.next")}
      </Button>
    </form>
  );
}

function KeyStep({
  provider,
  draft,
  again,
  error,
  onKey,
}: {
  provider: Provider;
  draft: Draft;
  again: boolean;
  error: unknown;
  onKey: (taken: Taken) => void;
}) {
  const { t } = useTranslation();
  const refused = again && error !== null;
  return (
    <div className={classes.form}>
      {refused && <ProblemPanel title={t("firstKey.failed")} error={error} beside />}
      <p className={classes.about}>
        {provider.hint}{" "}
        <Anchor
          href={provider.keysUrl}
          target="_blank"
          rel="noreferrer"
          size="sm"
          inherit
          className={classes.out}
        >
          {t("firstKey.key.make", { provider: provider.name })}
          <IconExternalLink size={14} aria-hidden />
        </Anchor>
      </p>
      <SecretForm
        key={provider.slug}
        provider={provider}
        draft={draft}
        errors={refused ? problemOf(error).fields : undefined}
        again={again ? t("firstKey.key.again") : undefined}
        label={t("firstKey.key.label", { provider: provider.name })}
        hint={t("firstKey.key.hint")}
        submit={t("common.next")}
        onTake={onKey}
      />
    </div>
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
        if (!labelError && !urlError) onName(trimmed, provider.addresses === "fixed" ? "" : url.trim());
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
      {provider.addresses !== "fixed" && (
        <BaseUrl
          listed={provider.addresses === "listed"}
          hosts={provider.hosts ?? []}
          label={t(provider.addresses === "listed" ? "firstKey.name.platform" : "firstKey.name.baseUrl")}
          hint={t("firstKey.name.baseUrlHint")}
          value={url}
          error={tried && urlError}
          onChange={setUrl}
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
      {first.warnings.map(({ field, description }) => (
        <Alert key={field} color="yellow" title={t("secret.warned")}>
          <code>{field}</code> {description}
        </Alert>
      ))}
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
          credential={credential}
          busy={first.replacing}
          error={first.rotate.error}
          onKey={async ({ secret }) => {
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
  credential,
  busy,
  error,
  onKey,
}: {
  provider: Provider;
  credential: Credential;
  busy: boolean;
  error: unknown;
  onKey: (taken: Taken) => Promise<void>;
}) {
  const { t } = useTranslation();
  return (
    <section className={classes.form} aria-label={t("firstKey.replace.title")}>
      {error !== null && <ProblemPanel title={t("firstKey.replaceFailed")} error={error} beside />}
      <SecretForm
        provider={provider}
        draft={draftOf(credential.settings)}
        errors={error === null ? undefined : problemOf(error).fields}
        label={t("firstKey.key.label", { provider: provider.name })}
        submit={t("firstKey.replace.submit")}
        busy={busy}
        onTake={(taken) => void onKey(taken)}
      />
    </section>
  );
}
