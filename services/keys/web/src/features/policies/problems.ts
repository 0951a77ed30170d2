import type { PolicyProblem } from "@/gen/claviger/keys/v1/policy_pb";
import { isPolicy, type Rule } from "./rule";

/** Problem is something wrong with a rule, at the part of it that it belongs to. */
export type Problem = {
  /** The key of the line; undefined if it is of a group or of the whole. */
  line?: number | undefined;
  group?: number | undefined;
  /** The field inside the line, group or rule, such as "model" or "timeouts.first_byte". */
  field: string;
  what: string;
  warning: boolean;
};

/** Sent are the keys of the groups and lines of a spec, as it was sent. */
export type Sent = { group: number; lines: number[] }[];

/** sentOf remembers what is sent, so that the answer finds the lines wherever they have moved. */
export function sentOf(rule: Rule): Sent {
  return rule.groups.map(({ key, lines }) => ({ group: key, lines: lines.map((line) => line.key) }));
}

/** whole is a rule without the lines and groups that nobody has written anything into yet. */
export function whole(rule: Rule): Rule {
  return {
    ...rule,
    groups: rule.groups
      .map((group) => ({
        ...group,
        lines: group.lines.filter((line) => check(line.model) === undefined),
      }))
      .filter(({ lines }) => lines.length > 0),
  };
}

/**
 * fromFields puts field violations, such as "spec.groups[0].targets[1].model", where they belong. The number
 * of the line in their words goes: the page says it, of where the line is by then.
 */
export function fromFields(
  fields: Record<string, string>,
  sent: Sent,
): { problems: Problem[]; rest: Record<string, string> } {
  const problems: Problem[] = [];
  const rest: Record<string, string> = {};
  for (const [path, description] of Object.entries(fields)) {
    const place = placeOf(path, sent);
    if (place)
      problems.push({ ...place, what: sentence(description.replace(/^line \d+: /, "")), warning: false });
    else rest[path] = description;
  }
  return { problems, rest };
}

/** fromCheck puts what a check found where it belongs. */
export function fromCheck(found: readonly PolicyProblem[], sent: Sent): Problem[] {
  const lines = sent.flatMap((group) => group.lines);
  return found.map(({ field, line, description, warning }) => ({
    ...(placeOf(field, sent) ?? { field: "", line: line > 0 ? lines[line - 1] : undefined }),
    what: sentence(description),
    warning,
  }));
}

const path = /^(?:spec\.)?groups\[(\d+)\](?:\.targets\[(\d+)\])?\.?(.*)$/;

function placeOf(field: string, sent: Sent): Pick<Problem, "line" | "group" | "field"> | undefined {
  const parts = path.exec(field);
  if (!parts) {
    return /^(?:spec\.)?(?:hedge|max_attempts)/.test(field)
      ? { field: field.replace(/^spec\./, "") }
      : undefined;
  }
  const [, groupAt, lineAt, rest = ""] = parts;
  const group = sent[Number(groupAt)];
  if (!group) return undefined;
  if (lineAt === undefined) return { group: group.group, field: rest };
  const line = group.lines[Number(lineAt)];
  return line === undefined ? undefined : { line, field: rest };
}

// The server's own rule.
const model = /^[a-z][a-z0-9-]{1,31}\/[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}$/;

/** check finds what the server would refuse about a model's form. */
export function check(written: string): "modelMissing" | "modelBad" | undefined {
  const text = written.trim();
  if (!text) return "modelMissing";
  return model.test(text) && !(isPolicy(text) && text.indexOf("/", 7) > 0) ? undefined : "modelBad";
}

/** different leaves of several lists what says something new. */
export function different(...lists: readonly (readonly Problem[])[]): Problem[] {
  const seen = new Set<string>();
  return lists.flat().filter(({ line, group, what }) => {
    const key = `${line} ${group} ${what}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function sentence(text: string): string {
  const begun = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
