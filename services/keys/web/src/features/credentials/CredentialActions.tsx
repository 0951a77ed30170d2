import "@/strings/late/credentials";
import "@/strings/late/secret";
import { ActionIcon, Button, Menu } from "@mantine/core";
import {
  IconArrowDown,
  IconArrowUp,
  IconDots,
  IconListDetails,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconRefresh,
  IconTrash,
} from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { type Credential, CredentialService, CredentialState } from "@/gen/claviger/keys/v1/credential_pb";
import { useClient, useSession } from "@/session/context";
import { done, failed } from "@/shared/errors/toast";
import { newIdempotencyKey, useAction } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import classes from "./CredentialsPage.module.css";
import type { Dialog } from "./Dialogs";
import { providerName } from "./names";
import { moved } from "./order";

type Props = {
  credential: Credential;
  /** All credentials in order, for moving; none while not all are loaded. */
  neighbours: readonly Credential[];
  onDialog: (dialog: Dialog) => void;
};

/** CredentialActions are the buttons of a row. Only owners see them. */
export function CredentialActions({ credential, neighbours, onDialog }: Props) {
  const { t } = useTranslation();
  const { org } = useSession();
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const { id, label, etag } = credential;
  const disabled = credential.state === CredentialState.DISABLED;
  const noSecret = credential.state === CredentialState.NO_SECRET;

  const enable = useAction(async () => {
    try {
      await client.updateCredential({ id, etag, disabled: false, idempotencyKey: newIdempotencyKey() });
      done(t("credentials.done.enabled", { label }));
    } catch (error) {
      failed(t("credentials.failures.change", { label }), error);
    }
    await refresh(CredentialService);
  });
  const move = useAction(async (by: -1 | 1) => {
    try {
      for (const { credential: each, priority } of moved(neighbours, id, by)) {
        await client.updateCredential({
          id: each.id,
          etag: each.etag,
          priority,
          idempotencyKey: newIdempotencyKey(),
        });
      }
      done(t("credentials.done.moved", { provider: providerName(credential.provider) }));
    } catch (error) {
      failed(t("credentials.failures.order"), error);
    }
    await refresh(CredentialService);
  });

  return (
    <div className={classes.actions}>
      <Button
        size="compact-sm"
        variant="default"
        fw={500}
        disabled={disabled || noSecret}
        onClick={() => onDialog({ kind: "test", credential })}
        aria-label={t("credentials.actions.testOf", { label })}
      >
        {t("credentials.actions.test")}
      </Button>
      <Menu position="bottom-end" width={190}>
        <Menu.Target>
          <ActionIcon
            variant="subtle"
            color="gray"
            loading={enable.busy || move.busy}
            aria-label={t("credentials.actions.more", { label })}
          >
            <IconDots size={17} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item
            component={Link}
            to="/o/$org/credentials/$credentialId"
            params={{ org, credentialId: id } as never}
            leftSection={<IconListDetails size={15} aria-hidden />}
          >
            {t("secret.details.open")}
          </Menu.Item>
          <Menu.Item
            leftSection={<IconRefresh size={15} aria-hidden />}
            onClick={() => onDialog({ kind: "rotate", credential })}
          >
            {t("credentials.actions.rotate")}
          </Menu.Item>
          <Menu.Item
            leftSection={<IconPencil size={15} aria-hidden />}
            onClick={() => onDialog({ kind: "edit", credential })}
          >
            {t("credentials.actions.edit")}
          </Menu.Item>
          {neighbours.length > 0 && (
            <>
              <Menu.Item
                leftSection={<IconArrowUp size={15} aria-hidden />}
                disabled={moved(neighbours, id, -1).length === 0}
                onClick={() => void move.run(-1)}
              >
                {t("credentials.actions.up")}
              </Menu.Item>
              <Menu.Item
                leftSection={<IconArrowDown size={15} aria-hidden />}
                disabled={moved(neighbours, id, 1).length === 0}
                onClick={() => void move.run(1)}
              >
                {t("credentials.actions.down")}
              </Menu.Item>
            </>
          )}
          <Menu.Item
            leftSection={
              disabled ? <IconPlayerPlay size={15} aria-hidden /> : <IconPlayerPause size={15} aria-hidden />
            }
            onClick={() => (disabled ? void enable.run() : onDialog({ kind: "disable", credential }))}
          >
            {t(disabled ? "credentials.actions.enable" : "credentials.actions.disable")}
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item
            c="var(--bad)"
            leftSection={<IconTrash size={15} aria-hidden />}
            onClick={() => onDialog({ kind: "remove", credential })}
          >
            {t("credentials.actions.remove")}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </div>
  );
}
