import "@/strings/late/credentials";
import "@/strings/late/credential";
import "@/strings/late/secret";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { Alert, Button, Group, NumberInput, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Credential, CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { useClient } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done } from "@/shared/errors/toast";
import { expiryDay, expiryOn } from "@/shared/expiry";
import { Patterns } from "@/shared/Patterns";
import { Several } from "@/shared/Several";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useCallers } from "@/shared/useCallers";
import { useRefresh } from "@/shared/useRefresh";
import { BaseUrl } from "./BaseUrl";
import { isUrl } from "./checks";
import { providerOf } from "./providers";

/** Edit changes what a credential is called, when it is tried, and what it may be used for. */
export function Edit({ credential, onClose }: { credential: Credential; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const callers = useCallers();
  const [label, setLabel] = useState(credential.label);
  const [priority, setPriority] = useState<number | string>(credential.priority);
  const [weight, setWeight] = useState<number | string>(credential.weight || 1);
  const [baseUrl, setBaseUrl] = useState(credential.baseUrl);
  const before = credential.expireTime ? expiryDay(timestampMs(credential.expireTime)) : "";
  const [day, setDay] = useState(before);
  const [badDay, setBadDay] = useState(false);
  const [models, setModels] = useState(credential.scope?.models ?? []);
  const [apiKeyIds, setApiKeyIds] = useState(credential.scope?.apiKeyIds ?? []);
  const [groupIds, setGroupIds] = useState(credential.scope?.groupIds ?? []);
  const { addresses, hosts } = providerOf(credential.provider);
  const url = baseUrl.trim();
  const discards = url !== credential.baseUrl;
  const action = useAction(async () => {
    const expires = day && day !== before ? expiryOn(day, Date.now()) : undefined;
    await once((idempotencyKey) =>
      client.updateCredential({
        id: credential.id,
        etag: credential.etag,
        label: label.trim(),
        priority: Number(priority),
        weight: Number(weight) || 1,
        baseUrl: discards ? url : undefined,
        scope: { models, apiKeyIds, groupIds },
        expireTime: expires && timestampFromDate(expires),
        clearExpireTime: before !== "" && day === "",
        idempotencyKey,
      }),
    );
    done(t("credentials.done.saved", { label: label.trim() }));
    await refresh(CredentialService);
    onClose();
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const bad = day !== "" && day !== before && !expiryOn(day, Date.now());
        setBadDay(bad);
        if (label.trim() && !bad && (!url || isUrl(url))) void action.run();
      }}
    >
      <Stack gap="md">
        {action.error !== null && <ProblemPanel title={t("credentials.edit.failed")} error={action.error} />}
        <TextInput
          label={t("credentials.edit.label")}
          description={t("credentials.edit.labelHint")}
          value={label}
          maxLength={80}
          required
          withAsterisk={false}
          autoComplete="off"
          onChange={(event) => setLabel(event.currentTarget.value)}
          data-autofocus
        />
        <Group grow align="start">
          <NumberInput
            label={t("credentials.edit.priority")}
            description={t("credentials.priorityHint")}
            value={priority}
            onChange={setPriority}
            min={0}
            max={1000}
            clampBehavior="strict"
            allowDecimal={false}
            required
            withAsterisk={false}
          />
          <NumberInput
            label={t("credential.edit.weight")}
            description={t("credential.edit.weightHint")}
            value={weight}
            onChange={setWeight}
            min={1}
            max={1000}
            clampBehavior="blur"
            allowDecimal={false}
          />
        </Group>
        <TextInput
          type="date"
          label={t("credential.edit.expires")}
          description={t("credential.edit.expiresHint")}
          value={day}
          error={badDay && t("credential.edit.expiresBad")}
          onChange={(event) => {
            setBadDay(false);
            setDay(event.currentTarget.value);
          }}
        />
        <Patterns
          size="sm"
          label={t("credential.edit.models")}
          description={t("credential.edit.modelsHint")}
          placeholder={t("credential.edit.everyModel")}
          value={models}
          onChange={setModels}
        />
        <Several
          size="sm"
          label={t("credential.edit.apiKeys")}
          description={t("credential.edit.callersHint")}
          placeholder={t("credential.edit.everybody")}
          all={callers.apiKeys}
          value={apiKeyIds}
          onChange={setApiKeyIds}
        />
        <Several
          size="sm"
          label={t("credential.edit.groups")}
          placeholder={t("credential.edit.everybody")}
          all={callers.groups}
          value={groupIds}
          onChange={setGroupIds}
        />
        {addresses !== "fixed" && (
          <BaseUrl
            listed={addresses === "listed"}
            hosts={hosts ?? []}
            label={t("credentials.edit.baseUrl")}
            hint={t("credentials.edit.baseUrlHint")}
            value={baseUrl}
            onChange={setBaseUrl}
          />
        )}
        {discards && <Alert color="yellow">{t("credentials.edit.discards")}</Alert>}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button type="submit" loading={action.busy}>
            {t("common.save")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
