import "@/strings/late/policies";
import { ActionIcon, Autocomplete } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconGripVertical, IconTrash } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { providerName } from "@/features/credentials/names";
import { Chooser } from "@/shared/Chooser";
import { NumberField } from "@/shared/NumberField";
import { Fold } from "./Fold";
import { LineDetails } from "./LineDetails";
import { check, type Problem } from "./problems";
import classes from "./RuleEditor.module.css";
import { isPolicy, type Line, own, platform, providerOf } from "./rule";
import type { Choices } from "./useChoices";
import { detailWords } from "./words";

type Props = {
  line: Line;
  /** Its number, from 1 through all groups. */
  number: number;
  /** Whether its group looks at weights. */
  weighted: boolean;
  problems: readonly Problem[];
  choices: Choices;
  dragging: boolean;
  mayGoUp: boolean;
  mayGoDown: boolean;
  mayGo: boolean;
  onChange: (part: Partial<Line>) => void;
  onGrab: (event: React.PointerEvent) => void;
  onMove: (by: -1 | 1, control: string) => void;
  onRemove: () => void;
};

// The fields that stand in the row itself; what is wrong elsewhere is said under it, or in its details.
const inRow = ["", "model", "use", "credential_id", "weight"];
const inDetails = ["timeouts", "retries", "backoff", "move_on", "overrides"];

/** LineRow edits one line: what is asked, whose keys serve, and its details folded away. */
export function LineRow(props: Props) {
  const { t } = useTranslation();
  const { line, number, problems, choices, onChange, onMove } = props;
  const place = { line: number };
  const errors = problems.filter(({ warning }) => !warning);
  const say = (...fields: string[]) => {
    const found = errors.filter(({ field }) => fields.includes(field));
    if (found.length === 0) return undefined;
    return t("policies.edit.problem", { line: number, what: found.map(({ what }) => what).join(" ") });
  };
  const folded = errors.filter(({ field }) => inDetails.some((part) => field.startsWith(part)));
  const elsewhere = errors.filter((problem) => !inRow.includes(problem.field) && !folded.includes(problem));
  const warnings = problems.filter(({ warning }) => warning);
  const details = detailWords(t, line, false);
  return (
    <li
      className={classes.line}
      data-key={line.key}
      data-dragging={props.dragging || undefined}
      data-bad={errors.length > 0 || undefined}
    >
      <button
        type="button"
        className={classes.grip}
        data-control="grip"
        aria-label={t("policies.edit.move", place)}
        title={t("policies.edit.move", place)}
        onPointerDown={props.onGrab}
        onKeyDown={(event) => {
          const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : undefined;
          if (!by) return;
          event.preventDefault();
          onMove(by, "grip");
        }}
      >
        <IconGripVertical size={16} aria-hidden />
        <span className="num">{number}</span>
      </button>
      <div className={classes.model}>
        <Autocomplete
          aria-label={t("policies.edit.model", place)}
          placeholder={t("policies.edit.modelPlaceholder")}
          data={[
            { group: t("policies.edit.models"), items: choices.models(line.use) },
            { group: t("policies.edit.policies"), items: choices.policies },
          ]}
          value={line.model}
          onChange={(model) => onChange({ model })}
          error={say("", "model")}
          limit={40}
          withScrollArea={false}
          maxLength={256}
          spellCheck={false}
          autoComplete="off"
          data-control="model"
          classNames={{ input: "mono", options: classes.options }}
          comboboxProps={{ transitionProps: { duration: 80 } }}
        />
      </div>
      <div className={classes.use}>
        {isPolicy(line.model) ? (
          <span className={classes.nested}>{t("policies.edit.nested")}</span>
        ) : (
          <Use
            line={line}
            number={number}
            choices={choices}
            onChange={onChange}
            error={say("use", "credential_id")}
          />
        )}
        {props.weighted && (
          <div className={classes.weight}>
            <NumberField
              label={t("policies.edit.weightShort")}
              name={t("policies.edit.weight", place)}
              value={line.weight}
              onChange={(weight) => onChange({ weight })}
              placeholder="1"
              max={1_000_000}
              error={say("weight")}
            />
          </div>
        )}
      </div>
      <div className={classes.buttons}>
        <ActionIcon
          variant="subtle"
          color="gray"
          data-control="up"
          disabled={!props.mayGoUp}
          aria-label={t("policies.edit.up", place)}
          onClick={() => onMove(-1, "up")}
        >
          <IconArrowUp size={16} />
        </ActionIcon>
        <ActionIcon
          variant="subtle"
          color="gray"
          data-control="down"
          disabled={!props.mayGoDown}
          aria-label={t("policies.edit.down", place)}
          onClick={() => onMove(1, "down")}
        >
          <IconArrowDown size={16} />
        </ActionIcon>
        <ActionIcon
          variant="subtle"
          color="gray"
          data-control="remove"
          disabled={!props.mayGo}
          aria-label={t("policies.edit.removeLine", place)}
          onClick={props.onRemove}
        >
          <IconTrash size={16} />
        </ActionIcon>
      </div>
      <div className={classes.below}>
        {elsewhere.map(({ field, what }) => (
          <p key={field + what} className={classes.error}>
            {t("policies.edit.problem", { line: number, what })}
          </p>
        ))}
        {warnings.length > 0
          ? warnings.map(({ what }) => (
              <p key={what} className={classes.warning}>
                {t("policies.edit.problem", { line: number, what })}
              </p>
            ))
          : errors.length === 0 && <Notes line={line} choices={choices} />}
        {!isPolicy(line.model) && (
          <Fold
            label={t("policies.details.short")}
            name={t("policies.details.open", place)}
            summary={details.join(" · ")}
            must={folded.length > 0}
          >
            <LineDetails
              details={line.details}
              onChange={(part) => onChange({ details: { ...line.details, ...part } })}
              error={say}
            />
          </Fold>
        )}
      </div>
    </li>
  );
}

type UseProps = Pick<Props, "line" | "number" | "choices" | "onChange"> & { error: React.ReactNode };

// Whose keys serve: any of the organization's, the platform's, or one by name.
function Use({ line, number, choices, onChange, error }: UseProps) {
  const { t } = useTranslation();
  const provider = providerOf(line.model);
  const keys = choices.credentials.filter((key) => key.provider === provider || key.id === line.use);
  const chosen = line.use !== own && line.use !== platform;
  if (chosen && !keys.some(({ id }) => id === line.use)) {
    keys.push({ id: line.use, name: t("policies.edit.goneCredential"), provider: "" });
  }
  return (
    <Chooser
      aria-label={t("policies.edit.use", { line: number })}
      value={line.use}
      onChange={(use) => onChange({ use })}
      error={error}
      more={choices.moreCredentials}
      options={[
        { value: own, label: t("policies.edit.own") },
        { value: platform, label: t("policies.edit.platform") },
        ...(keys.length > 0
          ? [
              {
                group: t("policies.edit.oneKey"),
                items: keys.map(({ id, name }) => ({ value: id, label: name })),
              },
            ]
          : []),
      ]}
    />
  );
}

// What will happen with a line that is allowed all the same, should the server not have said it.
function Notes({ line, choices }: Pick<Props, "line" | "choices">) {
  const { t } = useTranslation();
  const provider = providerOf(line.model);
  if (!provider || isPolicy(line.model) || check(line.model)) return null;
  const notes: string[] = [];
  if (line.use === own && choices.hasCredential(provider) === false) {
    notes.push(t("policies.edit.noCredential", { provider: providerName(provider) }));
  }
  if (choices.hasPrice(line.model.trim()) === false) notes.push(t("policies.edit.noPrice"));
  return notes.map((note) => (
    <p key={note} className={classes.warning}>
      {note}
    </p>
  ));
}
