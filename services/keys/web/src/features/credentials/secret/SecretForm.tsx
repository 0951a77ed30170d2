import "@/strings/late/firstkey";
import "@/strings/late/secret";
import { Button, Group } from "@mantine/core";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { CredentialSettings } from "@/gen/claviger/keys/v1/credential_pb";
import { emptySecret, SecretInput, takeSecret } from "@/shared/SecretInput";
import { looksLikeKey } from "../checks";
import type { Provider } from "../providers";
import type { Draft, Fields } from "./draft";
import classes from "./secret.module.css";

// Most people bring one key: the other forms come when they are needed.
const AwsForm = lazy(() => import("./AwsForm"));
const AzureForm = lazy(() => import("./AzureForm"));
const GoogleForm = lazy(() => import("./GoogleForm"));

/** Taken is a secret as a person has given it. */
export type Taken = {
  /** What is sent. */
  secret: string;
  /** What of it may be shown. */
  shown: string;
  /** What of it is no secret, should the form be needed again. */
  draft: Draft;
};

export type SecretFormProps = {
  provider: Provider;
  /** What to begin with. */
  draft?: Draft | undefined;
  /** What the server found wrong, by field. */
  errors?: Fields | undefined;
  /** What to say about one key that has to be given again. */
  again?: string | undefined;
  label: string;
  hint?: string | undefined;
  submit: string;
  busy?: boolean | undefined;
  onCancel?: (() => void) | undefined;
  onTake: (taken: Taken) => void;
};

/** SecretForm takes a provider's secret, in the form that the provider has. */
export function SecretForm(props: SecretFormProps) {
  const { t } = useTranslation();
  const loading = <p className={classes.quiet}>{t("secret.loading")}</p>;
  switch (props.provider.form) {
    case "aws":
      return (
        <Suspense fallback={loading}>
          <AwsForm {...props} />
        </Suspense>
      );
    case "azure":
      return (
        <Suspense fallback={loading}>
          <AzureForm {...props} />
        </Suspense>
      );
    case "google":
      return (
        <Suspense fallback={loading}>
          <GoogleForm {...props} />
        </Suspense>
      );
    default:
      return <KeyForm {...props} />;
  }
}

function KeyForm({ provider, again, errors, label, hint, onTake, ...buttons }: SecretFormProps) {
  const { t } = useTranslation();
  const input = useRef<HTMLInputElement>(null);
  const [malformed, setMalformed] = useState(false);
  useEffect(() => {
    const field = input.current;
    return () => emptySecret(field);
  }, []);
  return (
    <form
      className={classes.form}
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        const pasted = input.current?.value.trim() ?? "";
        setMalformed(!looksLikeKey(pasted));
        if (!looksLikeKey(pasted)) return input.current?.focus();
        onTake({ secret: takeSecret(input.current), shown: `…${pasted.slice(-4)}`, draft: [] });
      }}
    >
      <SecretInput
        ref={input}
        label={label}
        description={hint}
        placeholder={provider.example}
        error={malformed ? t("firstKey.key.malformed") : (errors?.secret ?? again)}
        autoFocus
      />
      <Buttons {...buttons} />
    </form>
  );
}

/** Buttons end a form. */
export function Buttons({ submit, busy, onCancel }: Pick<SecretFormProps, "submit" | "busy" | "onCancel">) {
  const { t } = useTranslation();
  return (
    <Group justify={onCancel ? "flex-end" : "flex-start"}>
      {onCancel && (
        <Button variant="default" onClick={onCancel}>
          {t("common.cancel")}
        </Button>
      )}
      <Button type="submit" loading={busy}>
        {submit}
      </Button>
    </Group>
  );
}

/** draftOf is what a stored credential begins a form with. */
export function draftOf(settings: CredentialSettings | undefined): Draft {
  if (!settings) return [];
  if (settings.deployments.length > 0) {
    return settings.deployments.map(({ modelSlug, endpointUrl, modelId }) => ({
      model_slug: modelSlug,
      endpoint_url: endpointUrl,
      model_id: modelId,
    }));
  }
  const { region, project, location } = settings;
  return [{ region, project, location }];
}
