import { useInfiniteQuery } from "@connectrpc/connect-query";
import { ActionIcon, Button, Menu } from "@mantine/core";
import { IconDots, IconPlus, IconTrash, IconUserCog, IconUsers } from "@tabler/icons-react";
import { lazy, Suspense, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Member, MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { useSession } from "@/session/context";
import { type Column, DataTable } from "@/shared/DataTable";
import { Page, Panel } from "@/shared/Page";
import { roleKey } from "@/shared/roles";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
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
      cell: ({ id, email }) => (
        <>
          {email}
          {id === self.id && <span className={classes.you}>{t("members.you")}</span>}
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
      cell: (member) => {
        const untouchable = member.role === Role.OWNER && !may.manageOwners;
        return (
          <Menu position="bottom-end" width={190}>
            <Menu.Target>
              <ActionIcon
                variant="subtle"
                color="gray"
                disabled={untouchable}
                title={untouchable ? t("members.ownerOnly") : undefined}
                aria-label={t("members.actions.more", { email: member.email })}
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
      },
    });
  }
  return <DataTable caption={t("members.title")} columns={columns} rows={members} rowKey={({ id }) => id} />;
}
