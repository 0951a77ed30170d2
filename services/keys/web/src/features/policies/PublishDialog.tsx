import "@/strings/late/policies";
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { type Policy, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done } from "@/shared/errors/toast";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { Changes } from "./Changes";
import classes from "./PolicyPage.module.css";

type Props = {
  /** With its draft. */
  policy: Policy;
  /** What is odd about it and allowed. */
  warnings: readonly string[];
  onClose: () => void;
  onPublished: (policy: Policy) => void;
};

/** PublishDialog shows what changes for everybody before a draft is published. */
export function PublishDialog({ policy, warnings, onClose, onPublished }: Props) {
  const { t } = useTranslation();
  const client = useClient(PolicyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { id, etag, name, version: from } = policy;
  const version = String(from + 1n);
  const publish = useAction(async () => {
    const answer = await once((idempotencyKey) => client.publishPolicy({ id, etag, idempotencyKey }));
    done(t("policies.publish.done", { name, version: String(answer.policy?.version ?? version) }));
    if (answer.policy) onPublished(answer.policy);
    onClose();
    await refresh(PolicyService);
  });
  return (
    <Modal opened onClose={onClose} title={t("policies.publish.title", { name })} size="lg">
      <Stack gap="md">
        {from > 0n ? (
          <>
            <Changes id={id} from={0n} to={0n} />
            <Text size="sm">{t("policies.publish.body", { version, from: String(from) })}</Text>
          </>
        ) : (
          <Text size="sm">{t("policies.publish.first", { name })}</Text>
        )}
        {warnings.length > 0 && (
          <div className={classes.conflict}>
            <p>{t("policies.publish.warnings")}</p>
            <ul className={classes.warnings}>
              {warnings.map((what) => (
                <li key={what}>{what}</li>
              ))}
            </ul>
          </div>
        )}
        {publish.error !== null && (
          <ProblemPanel title={t("policies.publish.failed")} error={publish.error} beside />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button onClick={() => void publish.run()} loading={publish.busy} data-autofocus>
            {t("policies.publish.confirm", { version })}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
