import "@/strings/late/apikeys";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Alert, Button, Group, Modal, NativeSelect, Stack, TextInput } from "@mantine/core";
import { IconAlertTriangle, IconCheck, IconCopy } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { type ApiKey, ApiKeyService, ProvenanceLevel } from "@/gen/claviger/keys/v1/api_key_pb";
import { useClient } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { problemWords } from "@/shared/errors/words";
import { expiryAfter, expiryOn } from "@/shared/expiry";
import { FormFoot, NameField } from "@/shared/fields";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { useAllPolicies } from "@/shared/whole";
import classes from "./CreateApiKey.module.css";
import { HowToUse } from "./HowToUse";
import { Provenance } from "./Provenance";
import { type Served, Serves, servedBy } from "./Serves";

const expiries = ["days30", "days90", "year", "date", "never"] as const;
const days = { days30: 30, days90: 90, year: 365 };

/** Created is a new key and its secret. It lives in the open dialog's state and nowhere else. */
type Created = { apiKey: ApiKey; secret: string; policy: string | undefined };

/** CreateApiKey asks what the key is for, makes it, and shows it once. */
export function CreateApiKey({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const [created, setCreated] = useState<Created | null>(null);
  const close = () => {
    setCreated(null);
    onClose();
  };
  // The key cannot be shown again, so that a slip of the finger does not close it.
  return (
    <Modal
      opened
      onClose={close}
      title={created ? t("apiKeys.created.title", { name: created.apiKey.name }) : t("apiKeys.create")}
      size={created ? "xl" : "md"}
      closeOnEscape={!created}
      closeOnClickOutside={!created}
      withCloseButton={!created}
    >
      {created ? <Shown created={created} onDone={close} /> : <Form onCreated={setCreated} onClose={close} />}
    </Modal>
  );
}

function Form({ onCreated, onClose }: { onCreated: (created: Created) => void; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useClient(ApiKeyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const policies = useAllPolicies().items;
  const [name, setName] = useState("");
  const [nameError, setNameError] = useState("");
  const [serves, setServes] = useState<Served>({ policyId: "", enforce: false, groupId: "" });
  const [expiry, setExpiry] = useState<(typeof expiries)[number]>("days90");
  const [date, setDate] = useState("");
  const [dateError, setDateError] = useState("");
  const [level, setLevel] = useState<ProvenanceLevel>(ProvenanceLevel.BASIC);
  const [now] = useState(Date.now);

  const action = useAction(async (expires: Date | undefined) => {
    try {
      const { apiKey, secret } = await once((idempotencyKey) =>
        client.createApiKey({
          name: name.trim(),
          ...servedBy(serves),
          provenance: level,
          expireTime: expires && timestampFromDate(expires),
          idempotencyKey,
        }),
      );
      if (apiKey)
        onCreated({ apiKey, secret, policy: policies?.find(({ id }) => id === serves.policyId)?.name });
    } catch (error) {
      const problem = problemOf(error);
      if (problem.reason === "API_KEY_EXISTS") setNameError(problemWords(t, problem).what);
      throw error;
    } finally {
      void refresh(ApiKeyService);
    }
  });

  const submit = () => {
    const missing = name.trim() ? "" : t("apiKeys.form.nameMissing");
    const expires =
      expiry === "never"
        ? undefined
        : expiry === "date"
          ? expiryOn(date, Date.now())
          : expiryAfter(days[expiry], Date.now());
    const badDate = expiry === "date" && !expires ? t("apiKeys.form.dateBad") : "";
    setNameError(missing);
    setDateError(badDate);
    if (!missing && !badDate) void action.run(expires);
  };

  const lost = action.error !== null && problemOf(action.error).reason === "SECRET_ALREADY_SHOWN";
  const shownDate =
    expiry === "date" || expiry === "never"
      ? undefined
      : new Intl.DateTimeFormat(undefined, { dateStyle: "long" }).format(expiryAfter(days[expiry], now));
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="md">
        <NameField
          label={t("apiKeys.form.name")}
          description={t("apiKeys.form.nameHint")}
          value={name}
          error={nameError}
          onChange={setName}
          onError={setNameError}
        />
        <Serves value={serves} onChange={setServes} />
        <div>
          <NativeSelect
            label={t("apiKeys.form.expiry")}
            description={shownDate && t("apiKeys.form.on", { date: shownDate })}
            value={expiry}
            onChange={(event) => setExpiry(event.currentTarget.value as typeof expiry)}
            data={expiries.map((value) => ({ value, label: t(`apiKeys.form.expiries.${value}`) }))}
          />
          {expiry === "date" && (
            <TextInput
              mt="xs"
              type="date"
              label={t("apiKeys.form.date")}
              value={date}
              error={dateError}
              onChange={(event) => {
                setDateError("");
                setDate(event.currentTarget.value);
              }}
            />
          )}
          {expiry === "never" && (
            <Alert
              mt="xs"
              color="yellow"
              icon={<IconAlertTriangle size={17} aria-hidden />}
              classNames={{ message: classes.warning }}
            >
              {t("apiKeys.form.neverWarning")}
            </Alert>
          )}
        </div>
        <Provenance value={level} onChange={setLevel} />
        {lost && (
          <Alert color="yellow" title={t("apiKeys.form.already.title")} role="alert">
            {t("apiKeys.form.already.body")}
          </Alert>
        )}
        {action.error !== null && !lost && !nameError && (
          <ProblemPanel title={t("apiKeys.form.failed")} error={action.error} />
        )}
        <FormFoot
          onCancel={onClose}
          cancel={lost ? t("common.close") : undefined}
          submit={lost ? undefined : t("apiKeys.form.submit")}
          busy={action.busy}
        />
      </Stack>
    </form>
  );
}

function Shown({ created, onDone }: { created: Created; onDone: () => void }) {
  const { t } = useTranslation();
  const field = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    // Pages that did not come by https have no clipboard: then it is at least selected.
    field.current?.select();
    await navigator.clipboard?.writeText(created.secret);
    setCopied(Boolean(navigator.clipboard));
  };
  return (
    <Stack gap="md">
      <div>
        <TextInput
          ref={field}
          label={t("apiKeys.created.key")}
          description={t("apiKeys.created.once")}
          value={created.secret}
          readOnly
          onFocus={(event) => event.currentTarget.select()}
          spellCheck={false}
          autoComplete="off"
          classNames={{ root: classes.once, input: "mono" }}
          data-autofocus
        />
        <Button
          mt="xs"
          size="xs"
          leftSection={copied ? <IconCheck size={15} /> : <IconCopy size={15} />}
          onClick={() => void copy()}
        >
          {t(copied ? "apiKeys.created.copied" : "apiKeys.created.copyKey")}
        </Button>
      </div>
      <HowToUse policy={created.policy} />
      <Group justify="flex-end">
        <Button variant={copied ? "filled" : "default"} onClick={onDone}>
          {t("apiKeys.created.done")}
        </Button>
      </Group>
    </Stack>
  );
}
