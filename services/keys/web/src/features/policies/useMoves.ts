import { useCallback, useEffect, useRef, useState } from "react";
import { placeLine, type Rule } from "./rule";

type Root = React.RefObject<HTMLElement | null>;

/**
 * useFocusAfterMove gives the focus back to what was moved: the browser lets go of what moves in the
 * document. A button that cannot be used there gives it to the grip or the field beside it.
 */
export function useFocusAfterMove(root: Root, rule: Rule): (key: number, control: string) => void {
  const wanted = useRef<{ key: number; control: string } | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: after each change of the order
  useEffect(() => {
    if (!wanted.current) return;
    const { key, control } = wanted.current;
    wanted.current = null;
    const row = root.current?.querySelector(`[data-key="${key}"]`);
    const usable = [control, "grip", "strategy", "model"]
      .flatMap((name) => [...(row?.querySelectorAll<HTMLElement>(`[data-control="${name}"]`) ?? [])])
      .find((node) => !(node as HTMLButtonElement).disabled);
    usable?.focus();
  }, [rule]);
  return useCallback((key, control) => {
    wanted.current = { key, control };
  }, []);
}

/** useDrag moves lines with the pointer, from group to group as well. */
export function useDrag(root: Root, rule: Rule, onChange: (rule: Rule) => void) {
  const [dragging, setDragging] = useState<number | null>(null);
  const latest = useRef({ rule, onChange });
  useEffect(() => {
    latest.current = { rule, onChange };
  });
  // It listens on the window: an element that moves in the document loses what it has captured.
  useEffect(() => {
    if (dragging === null) return;
    const follow = (event: PointerEvent) => {
      const lists = [...(root.current?.querySelectorAll<HTMLElement>("ol[data-group]") ?? [])];
      const list = nearest(lists, event.clientY);
      if (!list) return;
      const rows = [...list.querySelectorAll<HTMLElement>(":scope > [data-key]")];
      const others = rows.filter((row) => row.dataset["key"] !== String(dragging));
      const index = others.filter((row) => {
        const box = row.getBoundingClientRect();
        return event.clientY > box.top + box.height / 2;
      }).length;
      const stays = rows[index]?.dataset["key"] === String(dragging);
      if (stays) return;
      const { rule: now, onChange: tell } = latest.current;
      tell(placeLine(now, dragging, Number(list.dataset["group"]), index));
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
  }, [dragging, root]);
  const grab = useCallback((event: React.PointerEvent, key: number) => {
    if (event.button === 0) setDragging(key);
  }, []);
  return { dragging, grab };
}

function nearest(lists: readonly HTMLElement[], y: number): HTMLElement | undefined {
  let best: HTMLElement | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const list of lists) {
    const box = list.getBoundingClientRect();
    const away = y < box.top ? box.top - y : y > box.bottom ? y - box.bottom : 0;
    if (away < least) {
      best = list;
      least = away;
    }
  }
  return best;
}
