import { useTranslation } from "react-i18next";
import type { Target } from "@/gen/claviger/keys/v1/policy_pb";
import { ClassTag } from "@/shared/ClassTag";
import classes from "./TargetLines.module.css";

/** TargetLines shows what a policy tries, in order. */
export function TargetLines({ targets }: { targets: readonly Target[] }) {
  const { t } = useTranslation();
  return (
    <ol className={classes.lines} aria-label={t("policies.columns.lines")}>
      {targets.map((target) => (
        <li key={`${target.model} ${target.use}`} className={classes.chip}>
          <code>{target.model}</code>
          <ClassTag of={target.use} />
        </li>
      ))}
    </ol>
  );
}
