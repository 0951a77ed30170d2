import "@/strings/late/policies";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import type { PolicySpec } from "@/gen/claviger/keys/v1/policy_pb";
import { ClassTag } from "@/shared/ClassTag";
import { useObjectNames } from "@/shared/useObjectNames";
import classes from "./RuleView.module.css";
import { draws, isConditional, isPolicy, type Line, own, platform, ruleOf } from "./rule";
import type { Choices } from "./useChoices";
import { advancedWords, conditionWords, detailWords, strategyKey } from "./words";

type Props = {
  spec: PolicySpec | undefined;
  /** In a table: the lines alone. */
  brief?: boolean;
  groups?: Choices["groups"];
};

/** RuleView shows what a rule tries, in order. */
export function RuleView({ spec, brief = false, groups = [] }: Props) {
  const { t } = useTranslation();
  const names = useObjectNames();
  const rule = useMemo(() => ruleOf(spec), [spec]);
  if (!spec) return null;
  const numbers = new Map(rule.groups.flatMap(({ lines }) => lines).map(({ key }, at) => [key, at + 1]));
  const plain = rule.groups.length === 1 && strategyKey(rule.groups[0]?.strategy ?? 0) === "fallback";
  const advanced = brief ? [] : advancedWords(t, rule);
  return (
    <div className={classes.rule} data-brief={brief || undefined}>
      {rule.groups.map((group) => (
        <div key={group.key} className={classes.group}>
          {(!plain || isConditional(group.when)) && (
            <div className={classes.how}>
              {!plain && <span>{t(`policies.strategies.${strategyKey(group.strategy)}.name`)}</span>}
              {isConditional(group.when) && (
                <span>{conditionWords(t, group.when, { apiKeys: names.apiKeys, groups })}</span>
              )}
            </div>
          )}
          <ol className={classes.lines} aria-label={t("policies.columns.lines")}>
            {group.lines.map((line) => {
              const details = detailWords(t, line, draws(group.strategy));
              return (
                <li key={line.key} className={classes.line}>
                  <span className={classes.chip}>
                    <span className={classes.number}>{numbers.get(line.key)}</span>
                    <code>{line.model}</code>
                    <Whose line={line} name={names.credential} />
                  </span>
                  {!brief && details.length > 0 && (
                    <span className={classes.details}>{details.join(" · ")}</span>
                  )}
                </li>
              );
            })}
          </ol>
        </div>
      ))}
      {advanced.length > 0 && <p className={classes.details}>{advanced.join(" · ")}</p>}
    </div>
  );
}

function Whose({ line, name }: { line: Line; name: (id: string) => string | undefined }) {
  if (isPolicy(line.model)) return null;
  if (line.use === platform) return <ClassTag of={CredentialClass.PLATFORM} />;
  return (
    <>
      <ClassTag of={CredentialClass.OWN} />
      {line.use !== own && <span className={classes.key}>{name(line.use) ?? line.use}</span>}
    </>
  );
}
