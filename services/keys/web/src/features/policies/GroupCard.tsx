import "@/strings/late/policies";
import { ActionIcon, Button, NativeSelect, TextInput } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconPlus, IconTrash } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { Conditions } from "./Conditions";
import { Fold } from "./Fold";
import type { Problem } from "./problems";
import classes from "./RuleEditor.module.css";
import { type Group, most } from "./rule";
import type { Choices } from "./useChoices";
import { conditionWords, strategies, strategyKey } from "./words";

type Props = {
  group: Group;
  /** Its number, from 1. */
  number: number;
  count: number;
  problems: readonly Problem[];
  choices: Choices;
  onChange: (part: Partial<Group>) => void;
  onMove: (by: -1 | 1, control: string) => void;
  onRemove: () => void;
  onAdd: () => void;
  /** Its lines. */
  children: React.ReactNode;
};

/** GroupCard edits one group: the order of its lines, and for which requests it is there. */
export function GroupCard(props: Props) {
  const { t } = useTranslation();
  const { group, number, count, problems, onChange, onMove } = props;
  const place = { group: number };
  const errors = problems.filter(({ warning }) => !warning);
  const say = (field: string) => errors.find((problem) => problem.field === field)?.what;
  const conditions = errors.filter(({ field }) => field.startsWith("when"));
  const others = errors.filter(
    (problem) => !conditions.includes(problem) && !["strategy", "sticky_by"].includes(problem.field),
  );
  return (
    <section className={classes.group} data-key={group.key} aria-label={t("policies.edit.group", place)}>
      <div className={classes.groupHead}>
        <h3 className={classes.groupName}>{t("policies.edit.group", place)}</h3>
        <div className={classes.order}>
          <NativeSelect
            size="xs"
            aria-label={t("policies.edit.strategyOf", place)}
            data-control="strategy"
            value={String(group.strategy)}
            onChange={(event) => onChange({ strategy: Number(event.currentTarget.value) })}
            data={strategies.map(({ value, key }) => ({
              value: String(value),
              label: t(`policies.strategies.${key}.name`),
            }))}
            error={say("strategy")}
          />
          {strategyKey(group.strategy) === "sticky" && (
            <NativeSelect
              size="xs"
              aria-label={t("policies.edit.stickyByOf", place)}
              value={group.stickyBy}
              onChange={(event) => onChange({ stickyBy: event.currentTarget.value as Group["stickyBy"] })}
              data={(["session", "user", "tag"] as const).map((value) => ({
                value,
                label: t(`policies.edit.sticky.${value}`),
              }))}
            />
          )}
          {strategyKey(group.strategy) === "sticky" && group.stickyBy === "tag" && (
            <TextInput
              size="xs"
              aria-label={t("policies.edit.stickyTag")}
              placeholder={t("policies.edit.stickyTag")}
              value={group.stickyTag}
              onChange={(event) => onChange({ stickyTag: event.currentTarget.value })}
              error={say("sticky_by")}
              maxLength={64}
              spellCheck={false}
              autoComplete="off"
            />
          )}
        </div>
        <div className={classes.buttons}>
          <ActionIcon
            variant="subtle"
            color="gray"
            data-control="group-up"
            disabled={number === 1}
            aria-label={t("policies.edit.groupUp", place)}
            onClick={() => onMove(-1, "group-up")}
          >
            <IconArrowUp size={16} />
          </ActionIcon>
          <ActionIcon
            variant="subtle"
            color="gray"
            data-control="group-down"
            disabled={number === count}
            aria-label={t("policies.edit.groupDown", place)}
            onClick={() => onMove(1, "group-down")}
          >
            <IconArrowDown size={16} />
          </ActionIcon>
          <ActionIcon
            variant="subtle"
            color="gray"
            data-control="remove-group"
            disabled={count === 1}
            aria-label={t("policies.edit.removeGroup", place)}
            onClick={props.onRemove}
          >
            <IconTrash size={16} />
          </ActionIcon>
        </div>
        <p className={classes.strategyHint}>{t(`policies.strategies.${strategyKey(group.strategy)}.hint`)}</p>
      </div>
      <div className={classes.groupWhen}>
        <Fold
          label={t("policies.when.short")}
          name={t("policies.when.open", place)}
          summary={conditionWords(t, group.when, props.choices)}
          must={conditions.length > 0}
        >
          <Conditions
            when={group.when}
            onChange={(part) => onChange({ when: { ...group.when, ...part } })}
            choices={props.choices}
            error={say}
          />
        </Fold>
      </div>
      {[...others, ...problems.filter(({ warning }) => warning)].map(({ what, warning }) => (
        <p key={what} className={classes.groupProblem} data-warning={warning || undefined}>
          {t("policies.edit.groupProblem", { group: number, what })}
        </p>
      ))}
      {props.children}
      <div className={classes.groupFoot}>
        <Button
          variant="subtle"
          size="compact-xs"
          leftSection={<IconPlus size={14} />}
          data-control="add"
          disabled={group.lines.length >= most.lines}
          aria-label={count > 1 ? t("policies.edit.addTo", place) : undefined}
          onClick={props.onAdd}
        >
          {t("policies.edit.add")}
        </Button>
      </div>
    </section>
  );
}
