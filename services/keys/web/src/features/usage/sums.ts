import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { UsageRow, UsageTotals } from "@/gen/claviger/metering/v1/usage_pb";
import type { Measure, Sort } from "./search";

/** Sums are what a row counts. Money is nano-dollars. */
export type Sums = {
  requests: bigint;
  attempts: bigint;
  errors: bigint;
  input: bigint;
  output: bigint;
  cached: bigint;
  cost: bigint;
  unknownCost: bigint;
  estimated: bigint;
  estimatedCost: bigint;
  /** The part of cost that is what providers say. */
  providerCost: bigint;
  /** What providers say, whichever cost holds. */
  reportedCost: bigint;
  /** What is counted besides tokens, in thousandths, by name. */
  units: ReadonlyMap<string, bigint>;
};

/** Split are sums by who paid: own, platform, and all together. */
export type Split = { own: Sums; platform: Sums; all: Sums };

/** Group is a row of the table. */
export type Group = Split & { id: string };

/** nothing is the sum of no attempts. */
export function nothing(): Sums {
  return {
    requests: 0n,
    attempts: 0n,
    errors: 0n,
    input: 0n,
    output: 0n,
    cached: 0n,
    cost: 0n,
    unknownCost: 0n,
    estimated: 0n,
    estimatedCost: 0n,
    providerCost: 0n,
    reportedCost: 0n,
    units: new Map(),
  };
}

function add(to: Sums, totals: UsageTotals | undefined): void {
  if (!totals) return;
  to.requests += totals.requests;
  to.attempts += totals.attempts;
  to.errors += totals.errors;
  to.input += totals.tokens?.inputTotal ?? 0n;
  to.output += totals.tokens?.outputTotal ?? 0n;
  to.cached += totals.tokens?.cacheRead ?? 0n;
  to.cost += totals.costNanoUsd;
  to.unknownCost += totals.unknownCostAttempts;
  to.estimated += totals.estimatedAttempts;
  to.estimatedCost += totals.estimatedCostNanoUsd;
  to.providerCost += totals.providerCostNanoUsd;
  to.reportedCost += totals.reportedCostNanoUsd;
  if (totals.units.length > 0) {
    const units = new Map(to.units);
    for (const { name, milli } of totals.units) units.set(name, (units.get(name) ?? 0n) + milli);
    to.units = units;
  }
}

/** emptySplit is the split of no attempts. */
export function emptySplit(): Split {
  return { own: nothing(), platform: nothing(), all: nothing() };
}

function addTo(split: Split, who: string | undefined, totals: UsageTotals | undefined): void {
  add(split.all, totals);
  if (who === "own") add(split.own, totals);
  if (who === "platform") add(split.platform, totals);
}

/** groupsOf adds up rows of [group, class], or of [class] alone, by group. Pages may cut a group in two. */
export function groupsOf(rows: readonly UsageRow[]): Group[] {
  const groups = new Map<string, Group>();
  for (const row of rows) {
    const id = row.group[0] ?? "";
    const group = groups.get(id) ?? { id, ...emptySplit() };
    groups.set(id, group);
    addTo(group, row.group.at(-1), row.totals);
  }
  return [...groups.values()];
}

/** splitOf adds up rows whose last group is the class. */
export function splitOf(rows: readonly UsageRow[]): Split {
  const split = emptySplit();
  for (const row of rows) addTo(split, row.group.at(-1), row.totals);
  return split;
}

/** byBucket adds up rows of [group] by bucket and group; the class stands alone or as the group. */
export function byBucket(rows: readonly UsageRow[]): Map<number, Map<string, Sums>> {
  const buckets = new Map<number, Map<string, Sums>>();
  for (const row of rows) {
    const at = row.bucketTime ? timestampMs(row.bucketTime) : 0;
    const bucket = buckets.get(at) ?? new Map<string, Sums>();
    buckets.set(at, bucket);
    const id = row.group[0] ?? "";
    const sums = bucket.get(id) ?? nothing();
    bucket.set(id, sums);
    add(sums, row.totals);
  }
  return buckets;
}

/** measured is what a chart shows of sums. */
export function measured(sums: Sums | undefined, measure: Measure): bigint {
  if (!sums) return 0n;
  switch (measure) {
    case "cost":
      return sums.cost;
    case "tokens":
      return sums.input + sums.output;
    case "requests":
      return sums.requests;
    case "errors":
      return sums.errors;
  }
}

/** sorted orders groups by a column; equals stay by name, so that nothing jumps while it is refreshed. */
export function sorted(
  groups: readonly Group[],
  by: Sort,
  order: "asc" | "desc",
  nameOf: (id: string) => string,
): Group[] {
  const sign = order === "asc" ? 1 : -1;
  return [...groups].sort((a, b) => {
    const names = nameOf(a.id).localeCompare(nameOf(b.id));
    if (by === "name") return sign * names;
    const [x, y] = [columnOf(a, by), columnOf(b, by)];
    return x === y ? names : sign * (x < y ? -1 : 1);
  });
}

function columnOf(group: Group, by: Exclude<Sort, "name">): bigint {
  if (by === "own") return group.own.cost;
  if (by === "platform") return group.platform.cost;
  return group.all[by];
}

/** largest are the ids of the groups with the most of a measure, the most first. */
export function largest(groups: readonly Group[], measure: Measure, count: number): string[] {
  return groups
    .map(({ id, all }) => ({ id, value: measured(all, measure) }))
    .filter(({ value }) => value > 0n)
    .sort((a, b) => (a.value === b.value ? a.id.localeCompare(b.id) : a.value < b.value ? 1 : -1))
    .slice(0, count)
    .map(({ id }) => id);
}
