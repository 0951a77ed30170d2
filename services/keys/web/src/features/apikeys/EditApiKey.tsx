import "@/strings/late/apikeys";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { Modal, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type ApiKey, ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { useClient, useSession } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { done } from "@/shared/errors/toast";
import { problemWords } from "@/shared/errors/words";
import { expiryDay, expiryOn } from "@/shared/expiry";
import { FormFoot, NameField } from "@/shared/fields";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { Provenance } from "./Provenance";
import { type Served, Serves, servedBy } from "./Serves";

type Props = { apiKey: ApiKey; onClose: () => void };

/** EditApiKey changes all of an API key but its secret. A member changes the name and what callers are told. */
export function EditApiKey({ apiKey, onClose }: Props) {
  const { t } = useTranslation();
  return (
    <Modal opened onClose={onClose} title={t("apiKeys.edit.title", { name: apiKey.name })} size="md">
      <Form apiKey={apiKey} onClose={onClose} />
    </Modal>
  );
}

function Form({ apiKey, onClose }: Props) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(ApiKeyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [name, setName] = useState(apiKey.name);
  const [nameError, setNameError] = useState("");
  const [serves, setServes] = useState<Served>({
    policyId: apiKey.policyId,
    enforce: apiKey.enforcePolicy,
    groupId: apiKey.groupId,
  });
  const [provenance, setProvenance] = useState(apiKey.provenance);
  const before = apiKey.expireTime ? expiryDay(timestampMs(apiKey.expireTime)) : "";
  const [day, setDay] = useState(before);
  const [badDay, setBadDay] = useState(false);
  const all = may.manageApiKeys;

  const action = useAction(async () => {
    const expires = day && day !== before ? expiryOn(day, Date.now()) : undefined;
    try {
      await once((idempotencyKey) =>
        client.updateApiKey({
          id: apiKey.id,
          etag: apiKey.etag,
          name: name.trim(),
          provenance,
          ...(all && {
            ...servedBy(serves),
            expireTime: expires && timestampFromDate(expires),
            clearExpireTime: before !== "" && day === "",
          }),
          idempotencyKey,
        }),
      );
    } catch (error) {
      const problem = problemOf(error);
      if (problem.reason === "API_KEY_EXISTS") setNameError(problemWords(t, problem).what);
      throw error;
    }
    done(t("apiKeys.edit.done", { name: name.trim() }));
    await refresh(ApiKeyService);
    onClose();
  });

  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const missing = name.trim() ? "" : t("apiKeys.form.nameMissing");
        const bad = day !== "" && day !== before && !expiryOn(day, Date.now());
        setNameError(missing);
        setBadDay(bad);
        if (!missing && !bad) void action.run();
      }}
    >
      <Stack gap="md">
        <NameField
          label={t("apiKeys.form.name")}
          value={name}
          error={nameError}
          onChange={setName}
          onError={setNameError}
        />
        {all && (
          <>
            <Serves value={serves} onChange={setServes} />
            <TextInput
              type="date"
              label={t("apiKeys.form.date")}
              description={t("apiKeys.edit.dateHint")}
              value={day}
              error={badDay && t("apiKeys.form.dateBad")}
              onChange={(event) => {
                setBadDay(false);
                setDay(event.currentTarget.value);
              }}
            />
          </>
        )}
        <Provenance value={provenance} onChange={setProvenance} />
        {action.error !== null && !nameError && (
          <ProblemPanel title={t("apiKeys.edit.failed")} error={action.error} />
        )}
        <FormFoot onCancel={onClose} submit={t("common.save")} busy={action.busy} />
      </Stack>
    </form>
  );
}
