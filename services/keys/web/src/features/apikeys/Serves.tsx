import "@/strings/late/apikeys";
import { useTranslation } from "react-i18next";
import { useSession } from "@/session/context";
import { Chooser } from "@/shared/Chooser";
import { type DefaultPolicy, DefaultPolicyFields } from "@/shared/DefaultPolicyFields";
import { useAllGroups } from "@/shared/whole";

/** Served says by which rules an API key's requests are served. */
export type Served = DefaultPolicy & { groupId: string };

/** servedBy is what the server is told of it. A policy that is none cannot be enforced. */
export function servedBy({ policyId, enforce, groupId }: Served) {
  return { policyId, enforcePolicy: enforce && policyId !== "", groupId };
}

type Props = { value: Served; onChange: (value: Served) => void };

/** Serves chooses the group and the policy of an API key. */
export function Serves({ value, onChange }: Props) {
  const { t } = useTranslation();
  const { may } = useSession();
  const groups = useAllGroups();
  return (
    <>
      {may.manageApiKeys && (value.groupId !== "" || (groups.items?.length ?? 0) > 0) && (
        <Chooser
          label={t("apiKeys.form.group")}
          description={t("apiKeys.form.groupHint")}
          value={value.groupId}
          onChange={(groupId) => onChange({ ...value, groupId })}
          options={[
            { value: "", label: t("apiKeys.form.noGroup") },
            ...(groups.items ?? []).map(({ id, name }) => ({ value: id, label: name })),
          ]}
          more={groups.more}
        />
      )}
      <DefaultPolicyFields
        label={t("apiKeys.form.policy")}
        description={t("apiKeys.form.policyHint")}
        none={t("apiKeys.form.noPolicy")}
        enforceLabel={t("apiKeys.form.enforce")}
        enforceHint={t("apiKeys.form.enforceHint")}
        value={value}
        onChange={(part) => onChange({ ...value, ...part })}
      />
    </>
  );
}
