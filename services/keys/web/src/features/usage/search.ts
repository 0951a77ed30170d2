import { type Filters, filtersOf, textOf } from "@/shared/filters";

/** groupings are what rows can be grouped by. */
export const groupings = [
  "model",
  "provider",
  "class",
  "key",
  "credential",
  "member",
  "policy",
  "tag",
] as const;

/** Grouping is one of them. */
export type Grouping = (typeof groupings)[number];

/** measures are what the chart shows. */
export const measures = ["cost", "tokens", "requests", "errors"] as const;

/** Measure is one of them. */
export type Measure = (typeof measures)[number];

/** presets are the ranges that end now. */
export const presets = ["24h", "7d", "30d", "90d"] as const;

/** Preset is one of them. */
export type Preset = (typeof presets)[number];

/** sorts are the columns that rows can be sorted by. */
export const sorts = [
  "name",
  "requests",
  "errors",
  "input",
  "output",
  "cached",
  "own",
  "platform",
  "cost",
] as const;

/** Sort is one of them. */
export type Sort = (typeof sorts)[number];

/** UsageSearch is what the address of the usage page says. Absent is the default. */
export type UsageSearch = Filters & {
  /** Default 24h. "custom" comes with from and to. */
  range?: Preset | "custom";
  from?: string;
  to?: string;
  /** Default model. "tag" comes with the tag's key. */
  by?: Grouping;
  tag?: string;
  /** Default cost. */
  show?: Measure;
  /** What the bars are made of: own and platform, or the groups. Default class. */
  stack?: "group";
  /** Default cost, the most first. */
  sort?: Sort;
  order?: "asc" | "desc";
};

/** The server answers for no more than this. */
export const longestRange = 400 * 86_400_000;

/** usageSearch reads it; what it does not understand it leaves out. */
export function usageSearch(search: Record<string, unknown>): UsageSearch {
  const result: UsageSearch = filtersOf(search);
  const range = oneOf([...presets, "custom"] as const, search["range"]);
  if (range === "custom") {
    const from = instant(search["from"]);
    const to = instant(search["to"]);
    if (from !== undefined && to !== undefined && from < to && to - from <= longestRange) {
      result.range = range;
      result.from = new Date(from).toISOString();
      result.to = new Date(to).toISOString();
    }
  } else if (range) {
    result.range = range;
  }
  const by = oneOf(groupings, search["by"]);
  const tag = textOf(search["tag"]);
  if (by === "tag") {
    if (tag) Object.assign(result, { by, tag });
  } else if (by) {
    result.by = by;
  }
  const show = oneOf(measures, search["show"]);
  if (show) result.show = show;
  if (search["stack"] === "group") result.stack = "group";
  const sort = oneOf(sorts, search["sort"]);
  if (sort) result.sort = sort;
  const order = oneOf(["asc", "desc"] as const, search["order"]);
  if (order) result.order = order;
  return result;
}

function oneOf<T extends string>(all: readonly T[], value: unknown): T | undefined {
  return all.find((each) => each === value);
}

function instant(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  const at = Date.parse(value);
  return Number.isNaN(at) || at < 0 || at > Date.UTC(9999, 0) ? undefined : at;
}
