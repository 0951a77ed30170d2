import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import type { Policy, Target } from "@/gen/claviger/keys/v1/policy_pb";

/** Line is a line of a policy that is being edited. Its key stays with it when it moves. */
export type Line = { key: number; model: string; use: CredentialClass };

/** Errors are what is wrong with lines, by key. */
export type Errors = ReadonlyMap<number, string>;

let last = 0;

/** newLine returns a line with a key of its own. */
export function newLine(model = "", use = CredentialClass.OWN): Line {
  last += 1;
  return { key: last, model, use };
}

/** linesOf turns a policy's targets into lines. */
export function linesOf(targets: readonly Pick<Target, "model" | "use">[]): Line[] {
  return targets.map(({ model, use }) => newLine(model, use));
}

/** allTargets are the lines of a policy, through all groups: of its draft while nothing is published. */
export function allTargets({ spec, draft }: Pick<Policy, "spec" | "draft">): Target[] {
  return (spec ?? draft)?.groups.flatMap(({ targets }) => targets) ?? [];
}

/** targetsOf turns lines into what is sent. */
export function targetsOf(lines: readonly Line[]): { model: string; use: CredentialClass }[] {
  return lines.map(({ model, use }) => ({ model: model.trim(), use }));
}

/** move puts the line at one place into another, and keeps the order of all others. */
export function move(lines: readonly Line[], from: number, to: number): Line[] {
  const result = [...lines];
  const [line] = result.splice(from, 1);
  if (line) result.splice(Math.max(0, Math.min(to, result.length)), 0, line);
  return result;
}

/** sameLines says whether two lists would be stored as the same. */
export function sameLines(a: readonly Line[], b: readonly Line[]): boolean {
  return JSON.stringify(targetsOf(a)) === JSON.stringify(targetsOf(b));
}

// The server's own rule.
const model = /^[a-z][a-z0-9-]{1,31}\/[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}$/;

/** check finds what the server would refuse about a line's form. */
export function check(line: Line): "modelMissing" | "modelBad" | undefined {
  const text = line.model.trim();
  if (!text) return "modelMissing";
  return model.test(text) ? undefined : "modelBad";
}

/**
 * errorsOf puts the server's field violations, such as "spec.groups[0].targets[1].model", on the lines that were sent.
 * What belongs to no line is left in rest.
 */
export function errorsOf(
  fields: Record<string, string>,
  sent: readonly Line[],
): { lines: Errors; rest: Record<string, string> } {
  const lines = new Map<number, string>();
  const rest: Record<string, string> = {};
  for (const [field, description] of Object.entries(fields)) {
    const index = /^spec\.groups\[0\]\.targets\[(\d+)\]/.exec(field)?.[1];
    const line = index === undefined ? undefined : sent[Number(index)];
    if (!line) rest[field] = description;
    else lines.set(line.key, [lines.get(line.key), sentence(description)].filter(Boolean).join(" "));
  }
  return { lines, rest };
}

/** providerOf is the provider's slug in a model, once it is written. */
export function providerOf(text: string): string | undefined {
  const at = text.indexOf("/");
  return at > 0 ? text.slice(0, at).trim() : undefined;
}

function sentence(text: string): string {
  const whole = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}
