import "@/strings/late/policies";
import { Button, Switch } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { NumberField } from "@/shared/NumberField";
import { Fold } from "./Fold";
import { GroupCard } from "./GroupCard";
import { LineRow } from "./LineRow";
import type { Problem } from "./problems";
import classes from "./RuleEditor.module.css";
import {
  changeGroup,
  changeLine,
  draws,
  type Line,
  linesOf,
  most,
  moveGroup,
  moveLine,
  newGroup,
  newLine,
  type Rule,
  removeLine,
} from "./rule";
import type { Choices } from "./useChoices";
import { useDrag, useFocusAfterMove } from "./useMoves";
import { advancedWords } from "./words";

type Props = {
  rule: Rule;
  onChange: (rule: Rule) => void;
  problems: readonly Problem[];
  /** Called with the key of a line or group that is being mended. */
  onMend: (key: number) => void;
  choices: Choices;
};

/** RuleEditor edits the groups and lines of a rule. What can be dragged can be moved by keys and buttons, too. */
export function RuleEditor({ rule, onChange, problems, onMend, choices }: Props) {
  const { t } = useTranslation();
  const root = useRef<HTMLDivElement>(null);
  const [said, setSaid] = useState("");
  const { dragging, grab } = useDrag(root, rule, onChange);
  const focus = useFocusAfterMove(root, rule);
  const all = linesOf(rule);
  const { groups } = rule;

  const moveBy = (line: Line, by: -1 | 1, control: string) => {
    const next = moveLine(rule, line.key, by);
    if (next === rule) return;
    focus(line.key, control);
    onChange(next);
    const place = linesOf(next).findIndex(({ key }) => key === line.key) + 1;
    setSaid(t("policies.edit.movedTo", { place, count: all.length }));
  };
  const moveGroupBy = (key: number, by: -1 | 1, control: string) => {
    const next = moveGroup(rule, key, by);
    if (next === rule) return;
    focus(key, control);
    onChange(next);
    const place = next.groups.findIndex((group) => group.key === key) + 1;
    setSaid(t("policies.edit.groupMovedTo", { place, count: groups.length }));
  };
  const remove = (line: Line) => {
    const index = all.indexOf(line);
    const next = all[index + 1] ?? all[index - 1];
    if (next) focus(next.key, "remove");
    onMend(line.key);
    onChange(removeLine(rule, line.key));
  };
  const add = (key: number) => {
    const line = newLine();
    const lines = groups.find((group) => group.key === key)?.lines ?? [];
    focus(line.key, "model");
    onMend(key);
    onChange(changeGroup(rule, key, { lines: [...lines, line] }));
  };
  const addGroup = () => {
    const group = newGroup();
    focus(group.key, "model");
    onChange({ ...rule, groups: [...groups, group] });
  };

  return (
    <div className={classes.rule} ref={root}>
      {groups.map((group, at) => (
        <GroupCard
          key={group.key}
          group={group}
          number={at + 1}
          count={groups.length}
          problems={problems.filter(({ group: key }) => key === group.key)}
          choices={choices}
          onChange={(part) => {
            onMend(group.key);
            onChange(changeGroup(rule, group.key, part));
          }}
          onMove={(by, control) => moveGroupBy(group.key, by, control)}
          onRemove={() => {
            const next = groups[at + 1] ?? groups[at - 1];
            if (next) focus(next.key, "remove-group");
            onChange({ ...rule, groups: groups.filter(({ key }) => key !== group.key) });
          }}
          onAdd={() => add(group.key)}
        >
          <ol className={classes.lines} data-group={group.key}>
            {group.lines.map((line) => {
              const number = all.indexOf(line) + 1;
              return (
                <LineRow
                  key={line.key}
                  line={line}
                  number={number}
                  weighted={draws(group.strategy)}
                  problems={problems.filter(({ line: key }) => key === line.key)}
                  choices={choices}
                  dragging={dragging === line.key}
                  mayGoUp={at > 0 || group.lines[0] !== line}
                  mayGoDown={at < groups.length - 1 || group.lines.at(-1) !== line}
                  mayGo={all.length > 1}
                  onChange={(part) => {
                    onMend(line.key);
                    onChange(changeLine(rule, line.key, part));
                  }}
                  onGrab={(event) => grab(event, line.key)}
                  onMove={(by, control) => moveBy(line, by, control)}
                  onRemove={() => remove(line)}
                />
              );
            })}
          </ol>
        </GroupCard>
      ))}
      <div>
        <Button
          variant="default"
          size="xs"
          leftSection={<IconPlus size={14} />}
          disabled={groups.length >= most.groups}
          onClick={addGroup}
        >
          {t("policies.edit.addGroup")}
        </Button>
      </div>
      <Advanced rule={rule} onChange={onChange} problems={problems} />
      <div role="status" className="visually-hidden">
        {said}
      </div>
    </div>
  );
}

function Advanced({ rule, onChange, problems }: Pick<Props, "rule" | "onChange" | "problems">) {
  const { t } = useTranslation();
  const here = problems.filter(({ line, group }) => line === undefined && group === undefined);
  const say = (field: string) => here.find((problem) => !problem.warning && problem.field === field)?.what;
  return (
    <Fold
      label={t("policies.advanced.title")}
      name={t("policies.advanced.title")}
      summary={advancedWords(t, rule).join(" · ")}
      must={here.some(({ field, warning }) => !warning && /^(max_attempts|hedge)/.test(field))}
    >
      <div className={classes.fields}>
        <NumberField
          label={t("policies.advanced.maxAttempts")}
          description={t("policies.advanced.maxAttemptsHint")}
          value={rule.maxAttempts}
          onChange={(maxAttempts) => onChange({ ...rule, maxAttempts })}
          min={1}
          max={16}
          error={say("max_attempts")}
        />
      </div>
      <Switch
        size="xs"
        label={t("policies.advanced.hedge")}
        description={t("policies.advanced.hedgeHint")}
        checked={rule.hedge}
        onChange={(event) => onChange({ ...rule, hedge: event.currentTarget.checked })}
        error={say("hedge")}
      />
      {rule.hedge && (
        <div className={classes.fields}>
          <NumberField
            label={t("policies.advanced.hedgeAfter")}
            description={t("policies.advanced.hedgeAfterHint")}
            unit="s"
            decimals={3}
            value={rule.hedgeAfter}
            onChange={(hedgeAfter) => onChange({ ...rule, hedgeAfter })}
            max={300}
            error={say("hedge.after")}
          />
          <NumberField
            label={t("policies.advanced.hedgePercent")}
            description={t("policies.advanced.hedgePercentHint")}
            unit="%"
            value={rule.hedgePercent}
            onChange={(hedgePercent) => onChange({ ...rule, hedgePercent })}
            min={1}
            max={100}
            error={say("hedge.max_percent")}
          />
        </div>
      )}
    </Fold>
  );
}
