import "@/strings/late/members";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { ActionIcon, Button, Menu } from "@mantine/core";
import {
  IconDots,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlus,
  IconTrash,
  IconUserCog,
  IconUsers,
} from "@tabler/icons-react";
import { lazy, Suspense, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { type Member, MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { useClient, useSession } from "@/session/context";
import { type Column, DataTable } from "@/shared/DataTable";
import { done, failed } from "@/shared/errors/toast";
import { Page, Panel } from "@/shared/Page";
import { roleKey } from "@/shared/roles";
import { Status } from "@/shared/Status";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import { newIdempotencyKey, useAction } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import type { MembersDialog } from "./MemberDialogs";
import classes from "./MembersPage.module.css";

const MemberDialogs = lazy(() => import("./MemberDialogs"));

/** MembersPage lists the people of the organization. */
export function MembersPage() {
  const { t } = useTranslation();
  const { may } = useSession();
  const [dialog, setDialog] = useState<MembersDialog | null>(null);
  const query = useInfiniteQuery(
    MemberService.method.listMembers,
    { pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
      enabled: may.seeMembers,
    },
  );
  return (
    <Page
      title={t("members.title")}
      description={t("members.description")}
      actions={
        may.manageMembers && (
          <Button leftSection={<IconPlus size={16} />} onClick={() => setDialog({ kind: "add" })}>
            {t("members.add")}
          </Button>
        )
      }
    >
      <Panel flush>
        {may.seeMembers ? (
          <Loaded query={query} errorTitle={t("members.failed")}>
            {({ pages }) => (
              <>
                <List members={pages.flatMap((page) => page.members)} onDialog={setDialog} />
                <LoadMore query={query} />
              </>
            )}
          </Loaded>
        ) : (
          <Empty icon={IconUsers} title={t("errors.denied.what")}>
            {t("errors.denied.next")}
          </Empty>
        )}
      </Panel>
      <Suspense fallback={null}>
        {dialog && <MemberDialogs dialog={dialog} onClose={() => setDialog(null)} />}
      </Suspense>
    </Page>
  );
}

function List({ members, onDialog }: { members: Member[]; onDialog: (dialog: MembersDialog) => void }) {
  const { t } = useTranslation();
  const { may, member: self } = useSession();
  const columns: Column<Member>[] = [
    {
      id: "email",
      header: t("members.columns.email"),
      main: true,
      cell: ({ id, email, disableTime }) => (
        <>
          {email}
          {id === self.id && <span className={classes.you}>{t("members.you")}</span>}
          {disableTime && (
            <div className={classes.state}>
              <Status tone="quiet">
                {t("members.disabled")} <Time value={disableTime} />
              </Status>
            </div>
          )}
        </>
      ),
    },
    {
      id: "role",
      header: t("members.columns.role"),
      cell: ({ role }) => (
        <div>
          {t(`shell.roles.${roleKey(role)}`)}
          <span className={classes.what}>{t(`members.roles.${roleKey(role)}`)}</span>
        </div>
      ),
    },
    {
      id: "lastSignIn",
      header: t("members.columns.lastSignIn"),
      cell: ({ lastSignInTime }) => <Time value={lastSignInTime} fallback={t("common.never")} />,
    },
    {
      id: "added",
      header: t("members.columns.added"),
      cell: ({ createTime }) => <Time value={createTime} />,
      wide: true,
    },
  ];
  if (may.manageMembers) {
    columns.push({
      id: "actions",
      header: t("members.columns.actions"),
      bare: true,
      align: "end",
      cell: (member) => <Actions member={member} onDialog={onDialog} />,
    });
  }
  return <DataTable caption={t("members.title")} columns={columns} rows={members} rowKey={({ id }) => id} />;
}

function Actions({ member, onDialog }: { member: Member; onDialog: (dialog: MembersDialog) => void }) {
  const { t } = useTranslation();
  const { may, member: self } = useSession();
  const client = useClient(MemberService);
  const refresh = useRefresh();
  const { id, email, etag, disableTime } = member;
  const untouchable = member.role === Role.OWNER && !may.manageOwners;
  const enable = useAction(async () => {
    try {
      await client.updateMember({ id, etag, disabled: false, idempotencyKey: newIdempotencyKey() });
      done(t("members.done.enabled", { email }));
    } catch (error) {
      failed(t("members.enableFailed", { email }), error);
    }
    await Promise.all([refresh(MemberService), refresh(ApiKeyService)]);
  });
  return (
    <Menu position="bottom-end" width={190}>
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          disabled={untouchable}
          loading={enable.busy}
          title={untouchable ? t("members.ownerOnly") : undefined}
          aria-label={t("members.actions.more", { email })}
        >
          <IconDots size={17} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          leftSection={<IconUserCog size={15} aria-hidden />}
          onClick={() => onDialog({ kind: "role", member })}
        >
          {t("members.actions.role")}
        </Menu.Item>
        {disableTime && (
          <Menu.Item leftSection={<IconPlayerPlay size={15} aria-hidden />} onClick={() => void enable.run()}>
            {t("members.actions.enable")}
          </Menu.Item>
        )}
        {/* Nobody can take back that they have disabled themselves. */}
        {!disableTime && id !== self.id && (
          <Menu.Item
            leftSection={<IconPlayerPause size={15} aria-hidden />}
            onClick={() => onDialog({ kind: "disable", member })}
          >
            {t("members.actions.disable")}
          </Menu.Item>
        )}
        <Menu.Item
          c="var(--bad)"
          leftSection={<IconTrash size={15} aria-hidden />}
          onClick={() => onDialog({ kind: "remove", member })}
        >
          {t("members.actions.remove")}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
