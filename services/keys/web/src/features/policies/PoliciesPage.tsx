import "@/strings/late/policies";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { ActionIcon, Anchor, Button } from "@mantine/core";
import { IconPencil, IconPlus, IconRoute, IconTrash } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Policy, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useSession } from "@/session/context";
import { CopyText } from "@/shared/CopyText";
import { type Column, DataTable } from "@/shared/DataTable";
import { Page, Panel } from "@/shared/Page";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import { useNames } from "@/shared/useNames";
import { DeletePolicy } from "./DeletePolicy";
import classes from "./PoliciesPage.module.css";
import { RuleView } from "./RuleView";
import { specOfPolicy } from "./rule";
import { type DefaultOf, useDefaultOf } from "./useDefaultOf";

/** PoliciesPage lists the policies. */
export function PoliciesPage() {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const query = useInfiniteQuery(
    PolicyService.method.listPolicies,
    { pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: (page) => page.nextPageToken || undefined },
  );
  const create = (
    <Button
      component={Link}
      to="/o/$org/policies/new"
      params={{ org } as never}
      leftSection={<IconPlus size={16} />}
    >
      {t("policies.create")}
    </Button>
  );
  return (
    <Page
      title={t("policies.title")}
      description={
        <>
          {t("policies.description")} {!may.managePolicies && t("policies.readOnly")}
        </>
      }
      actions={may.managePolicies && create}
    >
      <Panel flush>
        <Loaded query={query} errorTitle={t("policies.failed")}>
          {({ pages }) => {
            const policies = pages.flatMap((page) => page.policies);
            if (policies.length === 0) {
              return (
                <Empty
                  icon={IconRoute}
                  title={t("policies.empty.title")}
                  action={may.managePolicies && create}
                >
                  {t(may.managePolicies ? "policies.empty.body" : "policies.empty.bodyOthers")}
                </Empty>
              );
            }
            return (
              <>
                <List policies={policies} />
                <LoadMore query={query} />
              </>
            );
          }}
        </Loaded>
      </Panel>
    </Page>
  );
}

function List({ policies }: { policies: Policy[] }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const nameOf = useNames();
  const defaultOf = useDefaultOf();
  const [removing, setRemoving] = useState<Policy | null>(null);
  const columns: Column<Policy>[] = [
    {
      id: "name",
      header: t("policies.columns.name"),
      main: true,
      cell: (row) => (
        <div className={classes.name}>
          <Anchor
            component={Link}
            to="/o/$org/policies/$policyId"
            params={{ org, policyId: row.id } as never}
            size="sm"
            fw={550}
          >
            {row.name}
          </Anchor>
          <span className={classes.quiet}>
            <CopyText value={`policy/${row.name}`} label={t("policies.modelId", { name: row.name })} />
          </span>
        </div>
      ),
    },
    {
      id: "lines",
      header: t("policies.columns.lines"),
      cell: (row) => <RuleView spec={row.spec ?? specOfPolicy(row)} brief />,
    },
    {
      id: "keys",
      header: t("policies.columns.keys"),
      cell: (row) => <DefaultNames names={defaultOf?.(row.id)} />,
      wide: true,
    },
    {
      id: "version",
      header: t("policies.columns.version"),
      align: "end",
      cell: (row) => (
        <div className={classes.version}>
          {row.version > 0n ? (
            String(row.version)
          ) : (
            <span className={classes.quiet}>{t("policies.unpublished")}</span>
          )}
          {row.draft && (
            <span className={classes.badge}>
              {t(row.version > 0n ? "policies.draftBeside" : "policies.draft")}
            </span>
          )}
        </div>
      ),
    },
    {
      id: "updated",
      header: t("policies.columns.updated"),
      cell: (row) => (
        <div className={classes.name}>
          <Time value={row.updateTime} />
          {row.updatedBy && (
            <span className={classes.quiet}>{t("policies.by", { who: nameOf(row.updatedBy) })}</span>
          )}
        </div>
      ),
    },
  ];
  if (may.managePolicies) {
    columns.push({
      id: "actions",
      header: t("policies.columns.actions"),
      bare: true,
      align: "end",
      cell: (row) => (
        <div className={classes.actions}>
          <ActionIcon
            variant="subtle"
            color="gray"
            component={Link}
            to="/o/$org/policies/$policyId"
            params={{ org, policyId: row.id } as never}
            aria-label={t("policies.actions.edit", { name: row.name })}
          >
            <IconPencil size={16} />
          </ActionIcon>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t("policies.actions.remove", { name: row.name })}
            onClick={() => setRemoving(row)}
          >
            <IconTrash size={16} />
          </ActionIcon>
        </div>
      ),
    });
  }
  return (
    <>
      <DataTable caption={t("policies.title")} columns={columns} rows={policies} rowKey={(row) => row.id} />
      <DeletePolicy policy={removing} defaultOf={defaultOf} onClose={() => setRemoving(null)} />
    </>
  );
}

/** DefaultNames says whose default a policy is. */
export function DefaultNames({ names }: { names: ReturnType<DefaultOf> | undefined }) {
  const { t } = useTranslation();
  const { may } = useSession();
  if (!names) return <span className={classes.quiet}>…</span>;
  if (names.length === 0) {
    const all = may.manageApiKeys || may.seeMembers;
    return (
      <span className={classes.quiet}>
        {t(all ? "policies.defaultOf.none" : "policies.defaultOf.noneOfYours")}
      </span>
    );
  }
  const shown = names.slice(0, 3);
  return (
    <span>
      {shown.join(", ")}
      {names.length > shown.length && (
        <span className={classes.quiet}>
          {" "}
          {t("policies.defaultOf.more", { count: names.length - shown.length })}
        </span>
      )}
    </span>
  );
}
