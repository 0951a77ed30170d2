import { ActionIcon, Autocomplete, SegmentedControl } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconGripVertical, IconTrash } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { providerName } from "@/features/credentials/names";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import classes from "./LineList.module.css";
import { check, type Errors, type Line, move, providerOf } from "./lines";
import type { Models } from "./useModels";

type Props = {
  lines: readonly Line[];
  onChange: (lines: Line[]) => void;
  errors: Errors;
  /** Called with the key of a line that is being mended. */
  onMend: (key: number) => void;
  models: Models;
};

/** LineList edits the lines of a policy: each can be moved by pointer, arrow keys and buttons. */
export function LineList({ lines, onChange, errors, onMend, models }: Props) {
  const { t } = useTranslation();
  const list = useRef<HTMLOListElement>(null);
  const [said, setSaid] = useState("");
  const { dragging, grab } = useDrag(list, lines, onChange);
  const focus = useFocusAfterMove(list, lines);

  const moveBy = (from: number, by: -1 | 1, control: string) => {
    const to = from + by;
    const line = lines[from];
    if (!line || to < 0 || to >= lines.length) return;
    focus(line.key, control);
    onChange(move(lines, from, to));
    setSaid(t("policies.edit.movedTo", { place: to + 1, count: lines.length }));
  };
  const change = (key: number, part: Partial<Line>) => {
    onMend(key);
    onChange(lines.map((line) => (line.key === key ? { ...line, ...part } : line)));
  };
  const remove = (index: number) => {
    const next = lines[index + 1] ?? lines[index - 1];
    if (next) focus(next.key, "remove");
    onChange(lines.filter((_, other) => other !== index));
  };

  return (
    <>
      <ol className={classes.list} ref={list}>
        {lines.map((line, index) => {
          const place = { line: index + 1 };
          return (
            <li
              key={line.key}
              className={classes.line}
              data-key={line.key}
              data-dragging={dragging === line.key || undefined}
            >
              <button
                type="button"
                className={classes.grip}
                data-control="grip"
                aria-label={t("policies.edit.move", place)}
                title={t("policies.edit.move", place)}
                onPointerDown={(event) => grab(event, line.key)}
                onKeyDown={(event) => {
                  const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : undefined;
                  if (!by) return;
                  event.preventDefault();
                  moveBy(index, by, "grip");
                }}
              >
                <IconGripVertical size={16} aria-hidden />
                <span className="num">{index + 1}</span>
              </button>
              <div className={classes.model}>
                <Autocomplete
                  aria-label={t("policies.edit.model", place)}
                  placeholder={t("policies.edit.modelPlaceholder")}
                  data={models.suggestions(line.use)}
                  value={line.model}
                  onChange={(model) => change(line.key, { model })}
                  error={errors.get(line.key)}
                  limit={40}
                  withScrollArea={false}
                  maxLength={256}
                  spellCheck={false}
                  autoComplete="off"
                  classNames={{ input: "mono", options: classes.options }}
                  comboboxProps={{ transitionProps: { duration: 80 } }}
                />
                <Notes line={line} models={models} />
              </div>
              <SegmentedControl
                className={classes.use}
                aria-label={t("policies.edit.use", place)}
                value={String(line.use)}
                onChange={(use) => change(line.key, { use: Number(use) as CredentialClass })}
                data={[
                  { value: String(CredentialClass.OWN), label: t("policies.edit.own") },
                  { value: String(CredentialClass.PLATFORM), label: t("policies.edit.platform") },
                ]}
              />
              <div className={classes.buttons}>
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  data-control="up"
                  disabled={index === 0}
                  aria-label={t("policies.edit.up", place)}
                  onClick={() => moveBy(index, -1, "up")}
                >
                  <IconArrowUp size={16} />
                </ActionIcon>
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  data-control="down"
                  disabled={index === lines.length - 1}
                  aria-label={t("policies.edit.down", place)}
                  onClick={() => moveBy(index, 1, "down")}
                >
                  <IconArrowDown size={16} />
                </ActionIcon>
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  data-control="remove"
                  disabled={lines.length === 1}
                  aria-label={t("policies.edit.removeLine", place)}
                  onClick={() => remove(index)}
                >
                  <IconTrash size={16} />
                </ActionIcon>
              </div>
            </li>
          );
        })}
      </ol>
      <div role="status" className="visually-hidden">
        {said}
      </div>
    </>
  );
}

// What will happen with a line that is allowed all the same.
function Notes({ line, models }: { line: Line; models: Models }) {
  const { t } = useTranslation();
  const provider = providerOf(line.model);
  if (!provider || check(line)) return null;
  const notes: string[] = [];
  if (line.use === CredentialClass.OWN && models.hasCredential(provider) === false) {
    notes.push(t("policies.edit.noCredential", { provider: providerName(provider) }));
  }
  if (models.hasPrice(line.model.trim()) === false) notes.push(t("policies.edit.noPrice"));
  return notes.map((note) => (
    <p key={note} className={classes.note}>
      {note}
    </p>
  ));
}

// The browser lets go of what moves in the document; it gets the focus back, or its neighbour button does.
function useFocusAfterMove(list: React.RefObject<HTMLOListElement | null>, lines: readonly Line[]) {
  const wanted = useRef<{ key: number; control: string } | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: after each change of the order
  useEffect(() => {
    if (!wanted.current) return;
    const { key, control } = wanted.current;
    wanted.current = null;
    const row = list.current?.querySelector(`[data-key="${key}"]`);
    const button = row?.querySelector<HTMLButtonElement>(`[data-control="${control}"]`);
    const usable = button?.disabled ? row?.querySelector<HTMLButtonElement>('[data-control="grip"]') : button;
    usable?.focus();
  }, [lines]);
  return (key: number, control: string) => {
    wanted.current = { key, control };
  };
}

// Dragging listens on the window: an element that moves in the document loses what it has captured.
function useDrag(
  list: React.RefObject<HTMLOListElement | null>,
  lines: readonly Line[],
  onChange: (lines: Line[]) => void,
) {
  const [dragging, setDragging] = useState<number | null>(null);
  const latest = useRef({ lines, onChange });
  useEffect(() => {
    latest.current = { lines, onChange };
  });
  useEffect(() => {
    if (dragging === null) return;
    const follow = (event: PointerEvent) => {
      const { lines: now, onChange: tell } = latest.current;
      const from = now.findIndex(({ key }) => key === dragging);
      const rows = [...(list.current?.children ?? [])];
      const to = rows.filter((row, index) => {
        const box = row.getBoundingClientRect();
        return index !== from && event.clientY > box.top + box.height / 2;
      }).length;
      if (from >= 0 && to !== from) tell(move(now, from, to));
    };
    const end = () => setDragging(null);
    window.addEventListener("pointermove", follow);
    window.addEventListener("pointerup", end);
    window.addEventListener("pointercancel", end);
    return () => {
      window.removeEventListener("pointermove", follow);
      window.removeEventListener("pointerup", end);
      window.removeEventListener("pointercancel", end);
    };
  }, [dragging, list]);
  const grab = (event: React.PointerEvent, key: number) => {
    if (event.button === 0) setDragging(key);
  };
  return { dragging, grab };
}
