import "@/strings/late/policies";
import { useTranslation } from "react-i18next";
import { type Policy, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient } from "@/session/context";
import { ConfirmDialog } from "@/shared/ConfirmDialog";
import { done } from "@/shared/errors/toast";
import { useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import type { DefaultOf } from "./useDefaultOf";

type Props = {
  policy: Policy | null;
  defaultOf: DefaultOf | undefined;
  onClose: () => void;
  onDeleted?: () => void;
};

/** DeletePolicy asks before a policy is deleted, and says what stands in the way. */
export function DeletePolicy({ policy, defaultOf, onClose, onDeleted }: Props) {
  const { t } = useTranslation();
  const client = useClient(PolicyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  if (!policy) return null;
  const { id, name } = policy;
  const names = defaultOf?.(id) ?? [];
  return (
    <ConfirmDialog
      opened
      onClose={onClose}
      title={t("policies.remove.title", { name })}
      confirm={t("policies.remove.confirm")}
      onConfirm={async () => {
        await once((idempotencyKey) => client.deletePolicy({ id, idempotencyKey }));
        done(t("policies.removed", { name }));
        onDeleted?.();
        await refresh(PolicyService);
      }}
    >
      {t("policies.remove.body")}{" "}
      {names.length > 0 && t("policies.remove.inUse", { names: names.join(", ") })}
    </ConfirmDialog>
  );
}
