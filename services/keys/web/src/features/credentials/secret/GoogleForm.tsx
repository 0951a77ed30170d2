import "@/strings/late/secret";
import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { IconFileUpload } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { SecretInput } from "@/shared/SecretInput";
import { Status } from "@/shared/Status";
import {
  checkAccount,
  checkLocation,
  emptySecrets,
  endOf,
  type Fields,
  fieldsOf,
  filled,
  type Mistakes,
  readJson,
} from "./draft";
import { PasteJson } from "./PasteJson";
import { Buttons, type SecretFormProps } from "./SecretForm";
import classes from "./secret.module.css";
import { useMistakes } from "./useMistakes";

type Kind = "file" | "apiKey";

/** Account is what a service account's file says that is no secret. */
type Account = { email: string; project: string; keyId: string };

const largest = 64 * 1024;

/** GoogleForm takes Vertex AI's credential: a service account's file, dropped, chosen or pasted, or a key. */
export default function GoogleForm({ draft, errors, onTake, ...buttons }: SecretFormProps) {
  const { t } = useTranslation();
  const form = useRef<HTMLFormElement>(null);
  const none = useRef<HTMLInputElement>(null);
  const file = useRef<HTMLInputElement>(null);
  const secret = useRef<Fields>({});
  const [kind, setKind] = useState<Kind>("file");
  const [account, setAccount] = useState<Account>();
  const [over, setOver] = useState(false);
  const [missing, setMissing] = useState(false);
  const mistakes = useMistakes(errors);
  useEffect(() => {
    const element = form.current;
    element?.querySelector<HTMLElement>("textarea")?.focus();
    return () => {
      emptySecrets(element);
      secret.current = {};
    };
  }, []);

  const take = (fields: Fields, wrong: Mistakes = {}) => {
    const all = { ...wrong, ...checkAccount(fields) };
    setMissing(false);
    mistakes.setMistakes(all);
    if (Object.keys(all).length > 0) return;
    secret.current = fields;
    setAccount({
      email: fields.client_email ?? "",
      project: fields.project_id ?? "",
      keyId: fields.private_key_id ?? "",
    });
  };
  const read = async (chosen: File | undefined) => {
    if (!chosen) return;
    if (chosen.size > largest) return mistakes.setMistakes({ secret: "notJson" });
    const { lines, mistakes: wrong } = readJson(await chosen.text(), "google");
    if (wrong[""]) return mistakes.setMistakes({ secret: wrong[""] });
    take(lines[0] ?? {}, wrong);
  };
  const send = (element: HTMLFormElement) => {
    const {
      location = "",
      project = "",
      api_key: key = "",
    } = fieldsOf(element, ["location", "project", "api_key"]);
    if (kind === "apiKey") {
      const wrong: Mistakes = key ? {} : { api_key: "missing" };
      mistakes.setMistakes(wrong);
      if (!key) return;
      emptySecrets(element);
      return onTake({ secret: JSON.stringify({ api_key: key }), shown: endOf(key), draft: [] });
    }
    if (!account) {
      setMissing(true);
      return element.querySelector<HTMLElement>("textarea")?.focus();
    }
    const wrong = checkLocation(location);
    mistakes.setMistakes(wrong);
    if (Object.keys(wrong).length > 0) return;
    const whole = { ...secret.current, ...filled({ location, project }) };
    secret.current = {};
    onTake({
      secret: JSON.stringify(whole),
      shown: `${account.email} ${endOf(account.keyId)}`,
      draft: [filled({ location, project })],
    });
  };
  // What is wrong inside the file has no input of its own.
  const inFile = mistakes.all.filter(
    (field) => !["location", "project", "api_key", "secret"].includes(field),
  );

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
      <SegmentedControl
        aria-label={t("secret.google.kind")}
        value={kind}
        onChange={(chosen) => setKind(chosen as Kind)}
        data={[
          { value: "file", label: t("secret.google.account") },
          { value: "apiKey", label: t("secret.google.express") },
        ]}
        classNames={{ root: classes.kinds, label: classes.kind }}
      />
      {kind === "apiKey" ? (
        <SecretInput
          ref={none}
          name="api_key"
          label={t("secret.google.apiKey")}
          description={t("secret.google.expressHint")}
          placeholder="AQ.…"
          error={mistakes.of("api_key")}
        />
      ) : (
        <>
          {account ? (
            <div className={classes.account}>
              <Status tone="good">{t("secret.google.taken")}</Status>
              <dl className={classes.facts}>
                <dt>{t("secret.google.email")}</dt>
                <dd>{account.email}</dd>
                <dt>{t("secret.google.projectId")}</dt>
                <dd>{account.project}</dd>
                <dt>{t("secret.google.keyId")}</dt>
                <dd>{endOf(account.keyId)}</dd>
              </dl>
              <Button
                size="compact-xs"
                variant="default"
                className={classes.add}
                onClick={() => {
                  secret.current = {};
                  setAccount(undefined);
                }}
              >
                {t("secret.google.another")}
              </Button>
            </div>
          ) : (
            // biome-ignore lint/a11y/noStaticElementInteractions: dropping is a shortcut; the button and the field do the same
            <div
              className={classes.drop}
              data-over={over || undefined}
              onDragOver={(event) => {
                event.preventDefault();
                setOver(true);
              }}
              onDragLeave={() => setOver(false)}
              onDrop={(event) => {
                event.preventDefault();
                setOver(false);
                void read(event.dataTransfer.files[0]);
              }}
            >
              <PasteJson
                form="google"
                label={t("secret.google.json")}
                description={t("secret.google.jsonHint")}
                placeholder='{"type": "service_account", …}'
                error={missing ? t("secret.google.missing") : mistakes.of("secret")}
                onRead={([fields]) => take(fields ?? {})}
              />
              <input
                ref={file}
                type="file"
                accept=".json,application/json"
                className="visually-hidden"
                tabIndex={-1}
                aria-label={t("secret.google.file")}
                onChange={(event) => {
                  const input = event.currentTarget;
                  void read(input.files?.[0]).finally(() => {
                    input.value = "";
                  });
                }}
              />
              <Button
                size="xs"
                variant="default"
                className={classes.add}
                leftSection={<IconFileUpload size={15} aria-hidden />}
                onClick={() => file.current?.click()}
              >
                {t("secret.google.choose")}
              </Button>
            </div>
          )}
          {inFile.length > 0 && (
            <div role="alert">
              <ul className={classes.wrong}>
                {inFile.map((field) => (
                  <li key={field}>
                    <code>{field}</code> {mistakes.of(field)}
                  </li>
                ))}
              </ul>
            </div>
          )}
          <TextInput
            name="location"
            label={t("secret.google.location")}
            description={t("secret.google.locationHint")}
            defaultValue={draft?.[0]?.location || "global"}
            error={mistakes.of("location")}
            autoComplete="off"
            spellCheck={false}
            list="google-locations"
          />
          <datalist id="google-locations">
            {[
              "global",
              "us",
              "eu",
              "us-central1",
              "us-east5",
              "europe-west1",
              "europe-west4",
              "asia-southeast1",
            ].map((location) => (
              <option key={location} value={location} />
            ))}
          </datalist>
          <TextInput
            name="project"
            label={t("secret.google.project")}
            description={t("secret.google.projectHint")}
            placeholder={account?.project}
            defaultValue={draft?.[0]?.project ?? ""}
            error={mistakes.of("project")}
            autoComplete="off"
            spellCheck={false}
          />
        </>
      )}
      <Buttons {...buttons} />
    </form>
  );
}
