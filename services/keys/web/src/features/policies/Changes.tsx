import "@/strings/late/policies";
import { useQuery } from "@connectrpc/connect-query";
import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { type PolicyChange, PolicyChange_Kind, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { Loaded } from "@/shared/states";
import classes from "./Changes.module.css";

type Props = {
  id: string;
  /** The older version; 0 is the one that serves. */
  from: bigint;
  /** The newer; 0 is the draft. */
  to: bigint;
};

const kinds = {
  [PolicyChange_Kind.UNSPECIFIED]: "unknown",
  [PolicyChange_Kind.ADDED]: "added",
  [PolicyChange_Kind.REMOVED]: "removed",
  [PolicyChange_Kind.CHANGED]: "changed",
  [PolicyChange_Kind.MOVED]: "moved",
} as const;

/** Changes says how two versions of a policy differ. */
export function Changes({ id, from, to }: Props) {
  const { t } = useTranslation();
  const query = useQuery(
    PolicyService.method.diffPolicy,
    { id, fromVersion: from, toVersion: to },
    { gcTime: 0, retry: false },
  );
  return (
    <Loaded query={query} errorTitle={t("policies.diff.failed")} rows={2}>
      {({ changes }) =>
        changes.length === 0 ? (
          <p className={classes.quiet}>{t("policies.diff.same")}</p>
        ) : (
          <ul className={classes.changes} aria-label={t("policies.diff.list")}>
            {changes.map((change) => (
              <Row key={`${change.field} ${change.fromLine} ${change.toLine} ${change.to}`} change={change} />
            ))}
          </ul>
        )
      }
    </Loaded>
  );
}

function Row({ change }: { change: PolicyChange }) {
  const { t } = useTranslation();
  const kind = kinds[change.kind] ?? "unknown";
  const part = partWords(t, change.field);
  const nothing = <span className={classes.quiet}>{t("policies.diff.nothing")}</span>;
  return (
    <li className={classes.change} data-kind={kind}>
      <span className={classes.kind}>{t(`policies.diff.kinds.${kind}`)}</span>
      <span className={classes.where}>
        {lineWords(t, change)}
        {part && <span className={classes.part}>{part}</span>}
      </span>
      <span className={classes.values}>
        {kind === "changed" || kind === "unknown" ? (
          <>
            <del>{change.from || nothing}</del> <span aria-hidden>→</span> <ins>{change.to || nothing}</ins>
          </>
        ) : kind === "removed" ? (
          <del>{change.from}</del>
        ) : (
          <ins>{change.to || change.from}</ins>
        )}
      </span>
    </li>
  );
}

function lineWords(t: TFunction, { fromLine, toLine, field }: PolicyChange): string {
  if (fromLine > 0 && toLine > 0 && fromLine !== toLine) {
    return t("policies.diff.moved", { from: fromLine, to: toLine });
  }
  const line = toLine || fromLine;
  if (line > 0) return t("policies.diff.line", { line });
  const group = /^groups\[(\d+)\]/.exec(field)?.[1];
  return group === undefined ? "" : t("policies.edit.group", { group: Number(group) + 1 });
}

// The contract's names of fields, in the words of the editor.
const parts = {
  weight: "edit.weightShort",
  strategy: "edit.strategy",
  sticky_by: "edit.stickyBy",
  when: "when.short",
  "timeouts.first_byte": "details.firstByte",
  "timeouts.between_chunks": "details.betweenChunks",
  "timeouts.total": "details.total",
  retries: "details.retries",
  backoff: "details.backoff",
  move_on: "details.moveOn",
  "overrides.temperature": "details.temperature",
  "overrides.top_p": "details.topP",
  "overrides.max_output_tokens": "details.maxOutput",
  "overrides.reasoning_effort": "details.effort",
  max_attempts: "advanced.maxAttempts",
  hedge: "advanced.hedge",
} as const;

function partWords(t: TFunction, field: string): string {
  const tail = field.replace(/^groups\[\d+\](?:\.targets\[\d+\])?\.?/, "");
  const known = Object.entries(parts).find(([name]) => tail === name || tail.startsWith(`${name}.`));
  return known ? t(`policies.${known[1]}`) : tail === "model" ? "" : tail;
}
