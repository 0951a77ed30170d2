import "@/strings/late/apikeys";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ActionIcon, Menu, Modal } from "@mantine/core";
import { IconActivity, IconBan, IconChartBar, IconCode, IconDots, IconPencil } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type ApiKey, ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { useClient, useSession } from "@/session/context";
import { CutDialog } from "@/shared/CutDialog";
import { relativeTime } from "@/shared/format";
import { useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { EditApiKey } from "./EditApiKey";
import { HowToUse } from "./HowToUse";

type Props = {
  apiKey: ApiKey;
  /** The name of its default policy. */
  policy: string | undefined;
  lastTime: Timestamp | undefined;
  /** Whether this person may change and revoke it. */
  mayChange: boolean;
};

/** ApiKeyActions are the buttons of a row. */
export function ApiKeyActions({ apiKey, policy, lastTime, mayChange }: Props) {
  const { t } = useTranslation();
  const { org } = useSession();
  const client = useClient(ApiKeyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [open, setOpen] = useState<"use" | "edit" | "revoke" | null>(null);
  const { id, name } = apiKey;
  const close = () => setOpen(null);
  return (
    <>
      <Menu position="bottom-end" width={180}>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label={t("apiKeys.actions.more", { name })}>
            <IconDots size={17} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {!apiKey.revokeTime && (
            <Menu.Item leftSection={<IconCode size={15} aria-hidden />} onClick={() => setOpen("use")}>
              {t("apiKeys.actions.use")}
            </Menu.Item>
          )}
          {mayChange && (
            <Menu.Item leftSection={<IconPencil size={15} aria-hidden />} onClick={() => setOpen("edit")}>
              {t("apiKeys.actions.edit")}
            </Menu.Item>
          )}
          <Menu.Item
            component={Link}
            to="/o/$org/requests"
            params={{ org } as never}
            search={{ key: id } as never}
            leftSection={<IconActivity size={15} aria-hidden />}
          >
            {t("apiKeys.actions.requests")}
          </Menu.Item>
          <Menu.Item
            component={Link}
            to="/o/$org/usage"
            params={{ org } as never}
            search={{ key: id } as never}
            leftSection={<IconChartBar size={15} aria-hidden />}
          >
            {t("apiKeys.actions.usage")}
          </Menu.Item>
          {mayChange && (
            <>
              <Menu.Divider />
              <Menu.Item
                c="var(--bad)"
                leftSection={<IconBan size={15} aria-hidden />}
                onClick={() => setOpen("revoke")}
              >
                {t("apiKeys.actions.revoke")}
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      {open === "use" && (
        <Modal opened onClose={close} title={t("apiKeys.use.title", { name })} size="xl">
          <HowToUse policy={policy || undefined} />
        </Modal>
      )}
      {open === "edit" && <EditApiKey apiKey={apiKey} onClose={close} />}
      {open === "revoke" && (
        <CutDialog
          onClose={close}
          onSeen={() => {
            close();
            // The row goes when the list is read again: not before the receipt was seen.
            void refresh(ApiKeyService);
          }}
          title={t("apiKeys.revoke.title", { name })}
          confirm={t("apiKeys.revoke.confirm")}
          done={t("apiKeys.revoke.done", { name })}
          onConfirm={async (cutStreams) => {
            const { receipt } = await once((idempotencyKey) =>
              client.revokeApiKey({ id, cutStreams, idempotencyKey }),
            );
            return receipt;
          }}
        >
          {t("apiKeys.revoke.body")}{" "}
          {lastTime && t("apiKeys.revoke.used", { when: relativeTime(timestampMs(lastTime), Date.now()) })}
        </CutDialog>
      )}
    </>
  );
}
