import "@/strings/late/secret";
import { Button, TextInput } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { useTranslation } from "react-i18next";
import { SecretInput } from "@/shared/SecretInput";
import { azureFields, checkAzure, emptySecrets, endOf, type Fields, fieldsOf, fillIn } from "./draft";
import { PasteJson } from "./PasteJson";
import { Buttons, type SecretFormProps } from "./SecretForm";
import classes from "./secret.module.css";
import { useMistakes } from "./useMistakes";

// Lines have ids of their own, so that removing one leaves the inputs of the others alone.
let lastId = 0;
const fresh = () => ++lastId;

/** AzureForm takes Azure's list of deployments: as JSON, or line by line. */
export default function AzureForm({ draft, errors, onTake, ...buttons }: SecretFormProps) {
  const { t } = useTranslation();
  const form = useRef<HTMLFormElement>(null);
  const none = useRef<HTMLInputElement>(null);
  const [lines, setLines] = useState(() =>
    (draft?.length ? draft : [{}]).map((start) => ({ id: fresh(), start: start as Fields })),
  );
  const [told, setTold] = useState("");
  const mistakes = useMistakes(errors);
  useEffect(() => {
    const element = form.current;
    element?.querySelector<HTMLElement>("textarea")?.focus();
    return () => emptySecrets(element);
  }, []);

  const fill = (read: Fields[]) => {
    const made = read.map(() => ({ id: fresh(), start: {} }));
    flushSync(() => {
      setLines(made);
      setTold(t("secret.azure.filledIn", { count: read.length }));
      mistakes.setMistakes({});
    });
    made.forEach(({ id }, i) => {
      const named = Object.entries(read[i] ?? {}).map(([name, text]) => [`${id}.${name}`, text]);
      if (form.current) fillIn(form.current, Object.fromEntries(named));
    });
    form.current?.querySelector<HTMLElement>("button[type=submit]")?.focus();
  };
  const add = () => {
    const id = fresh();
    flushSync(() => setLines([...lines, { id, start: {} }]));
    const input = form.current?.elements.namedItem(`${id}.model_slug`);
    if (input instanceof HTMLElement) input.focus();
  };
  const remove = (id: number) => {
    mistakes.setMistakes({});
    setLines(lines.filter((line) => line.id !== id));
  };
  const send = (element: HTMLFormElement) => {
    const list = lines.map(({ id }) => {
      const inputs = azureFields.map((name) => `${id}.${name}`);
      const fields = fieldsOf(element, inputs);
      return Object.fromEntries(azureFields.map((name, i) => [name, fields[inputs[i] ?? ""] ?? ""]));
    });
    const wrong = checkAzure(list);
    mistakes.setMistakes(wrong);
    const [first] = Object.keys(wrong);
    if (first !== undefined) {
      const [, index, name] = /^\[(\d+)\]\.?(.*)$/.exec(first) ?? [];
      const input = element.elements.namedItem(`${lines[Number(index)]?.id}.${name || "endpoint_url"}`);
      return input instanceof HTMLElement && input.focus();
    }
    emptySecrets(element);
    const ends = list.map((line) => endOf(line.api_key ?? ""));
    onTake({
      secret: JSON.stringify(list),
      shown: t("secret.azure.shown", { count: list.length, ends: ends.slice(0, 3).join(", ") }),
      draft: list.map(({ api_key: _, ...rest }) => rest),
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
        form="azure"
        label={t("secret.azure.json")}
        description={t("secret.azure.jsonHint")}
        placeholder='[{"model_slug": "openai/gpt-4o", "endpoint_url": "…", "api_key": "…", "model_id": "…"}]'
        error={mistakes.of("secret")}
        onRead={fill}
      />
      <p className={classes.quiet} role="status">
        {told || t("secret.orFields")}
      </p>
      {lines.map(({ id, start }, i) => {
        const input = (name: "model_slug" | "endpoint_url" | "model_id", placeholder: string) => (
          <TextInput
            name={`${id}.${name}`}
            label={t(`secret.azure.${name}`)}
            placeholder={placeholder}
            defaultValue={start[name] ?? ""}
            error={mistakes.of(`[${i}].${name}`)}
            autoComplete="off"
            spellCheck={false}
          />
        );
        const whole = mistakes.of(`[${i}]`);
        return (
          <fieldset key={id} className={classes.line}>
            <legend>{t("secret.azure.line", { number: i + 1 })}</legend>
            {input("model_slug", "openai/gpt-4o")}
            {input("model_id", "gpt-4o")}
            {input("endpoint_url", "https://acme.openai.azure.com")}
            <SecretInput
              ref={none}
              name={`${id}.api_key`}
              label={t("secret.azure.api_key")}
              error={mistakes.of(`[${i}].api_key`)}
            />
            {whole && (
              <p className={classes.bad} role="alert">
                {whole}
              </p>
            )}
            {lines.length > 1 && (
              <Button
                size="compact-xs"
                variant="subtle"
                color="gray"
                className={classes.remove}
                onClick={() => remove(id)}
                aria-label={t("secret.azure.removeLine", { number: i + 1 })}
              >
                {t("secret.azure.remove")}
              </Button>
            )}
          </fieldset>
        );
      })}
      <Button
        variant="default"
        size="xs"
        className={classes.add}
        leftSection={<IconPlus size={14} aria-hidden />}
        onClick={add}
      >
        {t("secret.azure.add")}
      </Button>
      <Buttons {...buttons} />
    </form>
  );
}
