import { create, equals, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import {
  type Policy,
  type PolicySpec,
  PolicySpecSchema,
  Strategy,
  type Target,
  type TargetGroup,
} from "@/gen/claviger/keys/v1/policy_pb";
import type { Num } from "@/shared/NumberField";

/** Line is a line of a rule that is being edited. Its key stays with it when it moves. */
export type Line = {
  key: number;
  model: string;
  /** "own", "platform", or the id of one credential. */
  use: string;
  weight: Num;
  details: Details;
};

/** Details are what most lines leave to the router. */
export type Details = {
  /** In seconds. */
  firstByte: Num;
  betweenChunks: Num;
  total: Num;
  retries: Num;
  /** In milliseconds. */
  backoff: Num;
  moveOn: string[];
  temperature: Num;
  topP: Num;
  maxOutput: Num;
  effort: string;
};

/** TagCondition is a tag that requests must have; its key is for the page alone. */
export type TagCondition = { key: number; name: string; values: string[] };

/** Condition says for which requests a group is there. */
export type Condition = {
  tags: TagCondition[];
  models: string[];
  minInput: Num;
  maxInput: Num;
  apiKeyIds: string[];
  groupIds: string[];
};

/** Group is a group of lines. */
export type Group = {
  key: number;
  strategy: Strategy;
  stickyBy: "session" | "user" | "tag";
  stickyTag: string;
  when: Condition;
  lines: Line[];
};

/** Rule is a routing rule that is being edited. */
export type Rule = {
  groups: Group[];
  maxAttempts: Num;
  hedge: boolean;
  hedgeAfter: Num;
  hedgePercent: Num;
};

/** own and platform are whose credentials serve a line that names none. */
export const own = "own";
export const platform = "platform";

/** What the contract bounds. */
export const most = { groups: 16, lines: 32 };

let last = 0;

/** newKey returns a key that nothing else on this page has. */
export function newKey(): number {
  last += 1;
  return last;
}

const noDetails: Details = {
  firstByte: "",
  betweenChunks: "",
  total: "",
  retries: "",
  backoff: "",
  moveOn: [],
  temperature: "",
  topP: "",
  maxOutput: "",
  effort: "",
};
const noCondition: Condition = {
  tags: [],
  models: [],
  minInput: "",
  maxInput: "",
  apiKeyIds: [],
  groupIds: [],
};

/** newLine returns a line with a key of its own. */
export function newLine(model = "", use = own): Line {
  return { key: newKey(), model, use, weight: "", details: noDetails };
}

/** newGroup returns a group with one line to begin with. */
export function newGroup(lines: Line[] = [newLine()]): Group {
  return {
    key: newKey(),
    strategy: Strategy.FALLBACK,
    stickyBy: "session",
    stickyTag: "",
    when: noCondition,
    lines,
  };
}

/** newRule returns a rule with one line to begin with. */
export function newRule(): Rule {
  return { groups: [newGroup()], maxAttempts: "", hedge: false, hedgeAfter: "", hedgePercent: "" };
}

/** specOfPolicy is what is edited of a policy: its draft, or what serves. */
export function specOfPolicy({ draft, spec }: Pick<Policy, "draft" | "spec">): PolicySpec | undefined {
  return draft ?? spec;
}

/** ruleOf makes a rule of what the server has. */
export function ruleOf(spec: PolicySpec | undefined): Rule {
  if (!spec) return newRule();
  const { hedge } = spec;
  return {
    groups: spec.groups.map(groupOf),
    maxAttempts: orEmpty(spec.maxAttempts),
    hedge: hedge !== undefined,
    hedgeAfter: seconds(hedge?.after),
    hedgePercent: orEmpty(hedge?.maxPercent),
  };
}

function groupOf(group: TargetGroup): Group {
  const tag = group.stickyBy.startsWith("tag:");
  const { when } = group;
  return {
    key: newKey(),
    strategy: group.strategy || Strategy.FALLBACK,
    stickyBy: tag ? "tag" : group.stickyBy === "user" ? "user" : "session",
    stickyTag: tag ? group.stickyBy.slice(4) : "",
    when: when
      ? {
          tags: when.tags.map(({ key, values }) => ({ key: newKey(), name: key, values: [...values] })),
          models: [...when.models],
          minInput: orEmpty(when.minInputTokens),
          maxInput: orEmpty(when.maxInputTokens),
          apiKeyIds: [...when.apiKeyIds],
          groupIds: [...when.groupIds],
        }
      : noCondition,
    lines: group.targets.map(lineOf),
  };
}

function lineOf(target: Target): Line {
  const { timeouts, overrides } = target;
  return {
    key: newKey(),
    model: target.model,
    use: target.credentialId || (target.use === CredentialClass.PLATFORM ? platform : own),
    weight: target.weight ?? "",
    details: {
      firstByte: seconds(timeouts?.firstByte),
      betweenChunks: seconds(timeouts?.betweenChunks),
      total: seconds(timeouts?.total),
      retries: target.retries ?? "",
      backoff: target.backoff ? durationMs(target.backoff) : "",
      moveOn: [...target.moveOn],
      temperature: overrides?.temperature ?? "",
      topP: overrides?.topP ?? "",
      maxOutput: overrides?.maxOutputTokens === undefined ? "" : Number(overrides.maxOutputTokens),
      effort: overrides?.reasoningEffort ?? "",
    },
  };
}

/** specOf makes of a rule what is sent. */
export function specOf(rule: Rule): PolicySpec {
  return create(PolicySpecSchema, {
    groups: rule.groups.map((group) => ({
      strategy: group.strategy,
      stickyBy: group.strategy === Strategy.STICKY ? stickyOf(group) : "",
      ...whenOf(group.when),
      targets: group.lines.map((line) => targetOf(line, draws(group.strategy))),
    })),
    maxAttempts: number(rule.maxAttempts) ?? 0,
    ...(rule.hedge && {
      hedge: { after: duration(rule.hedgeAfter, 1000), maxPercent: number(rule.hedgePercent) ?? 0 },
    }),
  });
}

function stickyOf({ stickyBy, stickyTag }: Group): string {
  return stickyBy === "tag" ? `tag:${stickyTag.trim()}` : stickyBy;
}

function whenOf(when: Condition) {
  if (!isConditional(when)) return {};
  return {
    when: {
      tags: when.tags.map(({ name, values }) => ({ key: name.trim(), values })),
      models: when.models,
      minInputTokens: BigInt(number(when.minInput) ?? 0),
      maxInputTokens: BigInt(number(when.maxInput) ?? 0),
      apiKeyIds: when.apiKeyIds,
      groupIds: when.groupIds,
    },
  };
}

/** isConditional says whether a group is not there for every request. */
export function isConditional(when: Condition): boolean {
  const lists = [when.tags, when.models, when.apiKeyIds, when.groupIds];
  return lists.some((list) => list.length > 0) || when.minInput !== "" || when.maxInput !== "";
}

type TargetInit = NonNullable<
  NonNullable<MessageInitShape<typeof PolicySpecSchema>["groups"]>[number]["targets"]
>[number];

function targetOf(line: Line, weighted: boolean): TargetInit {
  const { details } = line;
  const model = line.model.trim();
  const weight = weighted ? number(line.weight) : undefined;
  // All else is said by the policy that is named.
  if (isPolicy(model)) return { model, weight };
  const timeouts = {
    firstByte: duration(details.firstByte, 1000),
    betweenChunks: duration(details.betweenChunks, 1000),
    total: duration(details.total, 1000),
  };
  const maxOutput = number(details.maxOutput);
  const overrides = {
    temperature: number(details.temperature),
    topP: number(details.topP),
    maxOutputTokens: maxOutput === undefined ? undefined : BigInt(Math.trunc(maxOutput)),
    reasoningEffort: details.effort.trim() || undefined,
  };
  return {
    model,
    ...whose(line.use),
    weight,
    ...(some(timeouts) && { timeouts }),
    retries: number(details.retries),
    backoff: duration(details.backoff, 1),
    moveOn: details.moveOn,
    ...(some(overrides) && { overrides }),
  };
}

// A credential says for itself whose it is.
function whose(use: string) {
  if (use === own) return { use: CredentialClass.OWN };
  return use === platform ? { use: CredentialClass.PLATFORM } : { credentialId: use };
}

/** sameRule says whether two rules would be stored as the same. */
export function sameRule(a: Rule, b: Rule): boolean {
  return equals(PolicySpecSchema, specOf(a), specOf(b));
}

/** isPolicy says whether a line names another policy. */
export function isPolicy(model: string): boolean {
  return model.trim().startsWith("policy/");
}

/** draws says whether a strategy looks at weights. */
export function draws(strategy: Strategy): boolean {
  return strategy === Strategy.WEIGHTED || strategy === Strategy.STICKY;
}

/** linesOf are the lines of a rule through all groups, in the order of their numbers. */
export function linesOf(rule: Pick<Rule, "groups">): Line[] {
  return rule.groups.flatMap(({ lines }) => lines);
}

/** changeGroup changes one group. */
export function changeGroup(rule: Rule, key: number, part: Partial<Group>): Rule {
  return {
    ...rule,
    groups: rule.groups.map((group) => (group.key === key ? { ...group, ...part } : group)),
  };
}

/** changeLine changes one line, wherever it is. */
export function changeLine(rule: Rule, key: number, part: Partial<Line>): Rule {
  return {
    ...rule,
    groups: rule.groups.map((group) => ({
      ...group,
      lines: group.lines.map((line) => (line.key === key ? { ...line, ...part } : line)),
    })),
  };
}

/** removeLine takes a line away; its group stays. */
export function removeLine(rule: Rule, key: number): Rule {
  return {
    ...rule,
    groups: rule.groups.map((group) => ({
      ...group,
      lines: group.lines.filter((line) => line.key !== key),
    })),
  };
}

/** moveLine moves a line by one place, out of its group if it stands at its edge. */
export function moveLine(rule: Rule, key: number, by: -1 | 1): Rule {
  const from = rule.groups.findIndex(({ lines }) => lines.some((line) => line.key === key));
  const group = rule.groups[from];
  if (!group) return rule;
  const at = group.lines.findIndex((line) => line.key === key);
  const inside = at + by;
  if (inside >= 0 && inside < group.lines.length) return placeLine(rule, key, group.key, inside);
  const next = rule.groups[from + by];
  return next ? placeLine(rule, key, next.key, by < 0 ? next.lines.length : 0) : rule;
}

/** placeLine puts a line at a place in a group, and keeps the order of all others. */
export function placeLine(rule: Rule, key: number, groupKey: number, index: number): Rule {
  const line = linesOf(rule).find((each) => each.key === key);
  const there = rule.groups.find((group) => group.key === groupKey);
  if (!line || !there) return rule;
  const full = there.lines.length >= most.lines && !there.lines.includes(line);
  if (full) return rule;
  const without = removeLine(rule, key);
  return {
    ...without,
    groups: without.groups.map((group) =>
      group.key === groupKey ? { ...group, lines: inserted(group.lines, line, index) } : group,
    ),
  };
}

/** moveGroup moves a group by one place. */
export function moveGroup(rule: Rule, key: number, by: -1 | 1): Rule {
  const from = rule.groups.findIndex((group) => group.key === key);
  const group = rule.groups[from];
  const to = from + by;
  if (!group || to < 0 || to >= rule.groups.length) return rule;
  return {
    ...rule,
    groups: inserted(
      rule.groups.filter((each) => each !== group),
      group,
      to,
    ),
  };
}

function inserted<T>(list: readonly T[], item: T, index: number): T[] {
  const at = Math.max(0, Math.min(index, list.length));
  return [...list.slice(0, at), item, ...list.slice(at)];
}

/** providerOf is the provider's slug in a model, once it is written. */
export function providerOf(model: string): string | undefined {
  const at = model.indexOf("/");
  return at > 0 ? model.slice(0, at).trim() : undefined;
}

function orEmpty(value: number | bigint | undefined): Num {
  return value ? Number(value) : "";
}

function number(value: Num): number | undefined {
  if (value === "" || value === "-") return undefined;
  const parsed = Number(value);
  return Number.isFinite(parsed) ? parsed : undefined;
}

function seconds(value: Duration | undefined): Num {
  return value ? durationMs(value) / 1000 : "";
}

function duration(value: Num, unit: number): Duration | undefined {
  const parsed = number(value);
  return parsed === undefined ? undefined : durationFromMs(Math.round(parsed * unit));
}

function some(values: Record<string, unknown>): boolean {
  return Object.values(values).some((value) => value !== undefined);
}
