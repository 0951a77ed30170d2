import "@/strings/late/secret";
import { SegmentedControl, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { useTranslation } from "react-i18next";
import { SecretInput } from "@/shared/SecretInput";
import { awsFields, checkAws, emptySecrets, endOf, type Fields, fieldsOf, filled, fillIn } from "./draft";
import { PasteJson } from "./PasteJson";
import { Buttons, type SecretFormProps } from "./SecretForm";
import classes from "./secret.module.css";
import { useMistakes } from "./useMistakes";

type Kind = "keys" | "apiKey";

const secretFields = ["secretAccessKey", "sessionToken", "apiKey"];

/** AwsForm takes Bedrock's credential: as JSON, or field by field. */
export default function AwsForm({ provider, draft, errors, onTake, ...buttons }: SecretFormProps) {
  const { t } = useTranslation();
  const form = useRef<HTMLFormElement>(null);
  const [kind, setKind] = useState<Kind>("keys");
  const [told, setTold] = useState("");
  const mistakes = useMistakes(errors);
  useEffect(() => {
    const element = form.current;
    element?.querySelector<HTMLElement>("textarea")?.focus();
    return () => emptySecrets(element);
  }, []);
  const none = useRef<HTMLInputElement>(null);

  const fill = (fields: Fields) => {
    flushSync(() => {
      setKind(fields.apiKey ? "apiKey" : "keys");
      setTold(t("secret.filledIn"));
      mistakes.setMistakes({});
    });
    if (form.current) fillIn(form.current, fields);
    form.current?.querySelector<HTMLElement>("button[type=submit]")?.focus();
  };
  const send = (element: HTMLFormElement) => {
    const fields = fieldsOf(element, awsFields);
    const wrong = checkAws(fields);
    mistakes.setMistakes(wrong);
    const [first] = Object.keys(wrong);
    if (first) {
      const input = element.elements.namedItem(first);
      return input instanceof HTMLElement && input.focus();
    }
    emptySecrets(element);
    onTake({
      secret: JSON.stringify(filled(fields)),
      shown: `${fields.region} ${endOf(fields.accessKeyId || fields.apiKey || "")}`,
      draft: [
        filled(Object.fromEntries(Object.entries(fields).filter(([name]) => !secretFields.includes(name)))),
      ],
    });
  };

  return (
    <form
      ref={form}
      className={classes.form}
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        send(event.currentTarget);
      }}
    >
      <PasteJson
        form="aws"
        label={t("secret.aws.json")}
        description={t("secret.aws.jsonHint")}
        placeholder='{"accessKeyId": "…", "secretAccessKey": "…", "region": "…"}'
        error={mistakes.of("secret")}
        onRead={([fields]) => fields && fill(fields)}
      />
      <p className={classes.quiet} role="status">
        {told || t("secret.orFields")}
      </p>
      <SegmentedControl
        aria-label={t("secret.aws.kind")}
        value={kind}
        onChange={(chosen) => setKind(chosen as Kind)}
        data={[
          { value: "keys", label: t("secret.aws.keys") },
          { value: "apiKey", label: t("secret.aws.apiKey") },
        ]}
        classNames={{ root: classes.kinds, label: classes.kind }}
      />
      {kind === "keys" ? (
        <>
          <TextInput
            name="accessKeyId"
            label={t("secret.aws.accessKeyId")}
            placeholder="AKIA…"
            defaultValue={draft?.[0]?.accessKeyId ?? ""}
            error={mistakes.of("accessKeyId")}
            autoComplete="off"
            spellCheck={false}
            classNames={{ input: "mono" }}
          />
          <SecretInput
            ref={none}
            name="secretAccessKey"
            label={t("secret.aws.secretAccessKey")}
            error={mistakes.of("secretAccessKey")}
          />
          <SecretInput
            ref={none}
            name="sessionToken"
            label={t("secret.aws.sessionToken")}
            description={t("secret.aws.sessionTokenHint")}
            error={mistakes.of("sessionToken")}
          />
        </>
      ) : (
        <SecretInput
          ref={none}
          name="apiKey"
          label={t("secret.aws.bedrockKey")}
          error={mistakes.of("apiKey")}
        />
      )}
      <TextInput
        name="region"
        label={t("secret.aws.region")}
        description={t("secret.aws.regionHint", { provider: provider.name })}
        placeholder="us-east-1"
        defaultValue={draft?.[0]?.region ?? ""}
        error={mistakes.of("region")}
        autoComplete="off"
        spellCheck={false}
        list="aws-regions"
      />
      <datalist id="aws-regions">
        {[
          "us-east-1",
          "us-east-2",
          "us-west-2",
          "eu-central-1",
          "eu-west-1",
          "eu-west-3",
          "ap-northeast-1",
          "ap-southeast-2",
        ].map((region) => (
          <option key={region} value={region} />
        ))}
      </datalist>
      <Buttons {...buttons} />
    </form>
  );
}
