import "@/strings/late/policies";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { Button, Group, Modal, NativeSelect, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Policy, PolicyService, type PolicyVersion } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient, useSession } from "@/session/context";
import { type Column, DataTable } from "@/shared/DataTable";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done } from "@/shared/errors/toast";
import { Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useNames } from "@/shared/useNames";
import { useRefresh } from "@/shared/useRefresh";
import { Changes } from "./Changes";
import classes from "./PolicyPage.module.css";
import { RuleView } from "./RuleView";

type Props = { policy: Policy; onRolledBack: (policy: Policy) => void };

/** Versions are the published versions of a policy: to look at, to compare, and to go back to. */
export function Versions({ policy, onRolledBack }: Props) {
  const { t } = useTranslation();
  const { may } = useSession();
  const nameOf = useNames();
  const [comparing, setComparing] = useState<bigint | null>(null);
  const [back, setBack] = useState<bigint | null>(null);
  const query = useInfiniteQuery(
    PolicyService.method.listPolicyVersions,
    { id: policy.id, pageSize: 10, pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: (page) => page.nextPageToken || undefined, retry: false },
  );
  const columns: Column<PolicyVersion>[] = [
    {
      id: "version",
      header: t("policies.versions.columns.version"),
      main: true,
      cell: (row) => (
        <div className={classes.version}>
          <span className="num">{String(row.version)}</span>
          {row.version === policy.version && <Status tone="good">{t("policies.versions.serves")}</Status>}
        </div>
      ),
    },
    {
      id: "published",
      header: t("policies.versions.columns.published"),
      cell: (row) => (
        <div>
          <Time value={row.publishTime} />{" "}
          <span className={classes.quiet}>
            {row.publishedBy && t("policies.by", { who: nameOf(row.publishedBy) })}
            {row.rolledBackTo > 0n && (
              <> · {t("policies.versions.again", { version: String(row.rolledBackTo) })}</>
            )}
          </span>
        </div>
      ),
    },
    {
      id: "rule",
      header: t("policies.versions.columns.rule"),
      cell: (row) => <RuleView spec={row.spec} brief />,
    },
    {
      id: "actions",
      header: t("policies.versions.columns.actions"),
      bare: true,
      align: "end",
      cell: (row) => (
        <div className={classes.rowButtons}>
          <Button
            size="compact-sm"
            variant="default"
            fw={500}
            aria-label={t("policies.versions.compareOf", { version: String(row.version) })}
            onClick={() => setComparing(row.version)}
          >
            {t("policies.versions.compare")}
          </Button>
          {may.managePolicies && row.version !== policy.version && (
            <Button
              size="compact-sm"
              variant="default"
              fw={500}
              aria-label={t("policies.versions.rollBackOf", { version: String(row.version) })}
              onClick={() => setBack(row.version)}
            >
              {t("policies.versions.rollBack")}
            </Button>
          )}
        </div>
      ),
    },
  ];
  return (
    <Section title={t("policies.versions.title")} description={t("policies.versions.description")}>
      <Panel flush>
        <Loaded query={query} errorTitle={t("policies.versions.failed")}>
          {({ pages }) => {
            const versions = pages.flatMap((page) => page.versions);
            if (versions.length === 0) return <p className={classes.none}>{t("policies.versions.none")}</p>;
            return (
              <>
                <DataTable
                  caption={t("policies.versions.title")}
                  columns={columns}
                  rows={versions}
                  rowKey={(row) => String(row.version)}
                />
                <LoadMore query={query} />
              </>
            );
          }}
        </Loaded>
      </Panel>
      {comparing !== null && (
        <Compare policy={policy} version={comparing} onClose={() => setComparing(null)} />
      )}
      {back !== null && (
        <RollBack policy={policy} version={back} onClose={() => setBack(null)} onRolledBack={onRolledBack} />
      )}
    </Section>
  );
}

type DialogProps = { policy: Policy; version: bigint; onClose: () => void };

// The older one is that of the row, or the one before it; the newer can be any, the draft too.
function Compare({ policy, version, onClose }: DialogProps) {
  const { t } = useTranslation();
  const [from, setFrom] = useState(
    String(version === policy.version && version > 1n ? version - 1n : version),
  );
  const [to, setTo] = useState(String(policy.version));
  const versions = Array.from({ length: Number(policy.version) }, (_, index) => {
    const value = String(Number(policy.version) - index);
    return { value, label: t("policies.diff.version", { version: value }) };
  });
  return (
    <Modal opened onClose={onClose} title={t("policies.diff.title")} size="lg">
      <Stack gap="md">
        <div className={classes.pair}>
          <NativeSelect
            label={t("policies.diff.from")}
            value={from}
            onChange={(event) => setFrom(event.currentTarget.value)}
            data={versions}
            data-autofocus
          />
          <NativeSelect
            label={t("policies.diff.to")}
            value={to}
            onChange={(event) => setTo(event.currentTarget.value)}
            data={[...(policy.draft ? [{ value: "0", label: t("policies.diff.draft") }] : []), ...versions]}
          />
        </div>
        <Changes id={policy.id} from={BigInt(from)} to={BigInt(to)} />
      </Stack>
    </Modal>
  );
}

function RollBack({ policy, version, onClose, onRolledBack }: DialogProps & Pick<Props, "onRolledBack">) {
  const { t } = useTranslation();
  const client = useClient(PolicyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { id, etag, name } = policy;
  const words = { version: String(version), next: String(policy.version + 1n), name };
  const action = useAction(async () => {
    const answer = await once((idempotencyKey) =>
      client.rollBackPolicy({ id, version, etag, idempotencyKey }),
    );
    done(t("policies.rollBack.done", words));
    if (answer.policy) onRolledBack(answer.policy);
    onClose();
    await refresh(PolicyService);
  });
  return (
    <Modal opened onClose={onClose} title={t("policies.rollBack.title", words)} size="lg">
      <Stack gap="md">
        <Changes id={id} from={policy.version} to={version} />
        <Text size="sm">{t("policies.rollBack.body", words)}</Text>
        {action.error !== null && <ProblemPanel error={action.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button onClick={() => void action.run()} loading={action.busy} data-autofocus>
            {t("policies.rollBack.confirm")}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
