import { describe, expect, test } from "vitest";
import { Dimension, TimeBucket } from "@/gen/claviger/metering/v1/usage_pb";
import { conditions, filtersOf } from "@/shared/filters";
import { bucketStarts, rangeOf, tickStarts } from "./range";
import { usageSearch } from "./search";

const hour = 3_600_000;
const now = Date.parse("2026-11-22T10:07:30Z");

describe("the address of the usage page", () => {
  test("is read as it was written", () => {
    const search = {
      range: "7d",
      by: "tag",
      tag: "team",
      show: "tokens",
      stack: "group",
      sort: "errors",
      order: "asc",
      model: "openai/gpt-4o",
      class: "own",
      policy: "",
    };
    expect(usageSearch(search)).toEqual(search);
  });

  test("leaves out what it does not understand", () => {
    expect(
      usageSearch({
        range: "forever",
        by: "shoe size",
        show: 3,
        sort: {},
        class: "theirs",
        model: ["a"],
        key: "x".repeat(300),
        tagged: "without a value",
        token: "secret",
      }),
    ).toEqual({});
  });

  test("reads a name that looks like a number as a name", () => {
    expect(usageSearch({ model: 5, policy: true })).toEqual({ model: "5", policy: "true" });
  });

  test("takes a range of one's own only if it can be asked for", () => {
    const custom = { range: "custom", from: "2026-11-01T00:00:00.000Z", to: "2026-11-03T00:00:00.000Z" };
    expect(usageSearch(custom)).toEqual(custom);
    expect(usageSearch({ ...custom, to: custom.from })).toEqual({});
    expect(usageSearch({ ...custom, from: "2025-01-01" })).toEqual({});
    expect(usageSearch({ ...custom, from: "yesterday" })).toEqual({});
    expect(usageSearch({ range: "custom" })).toEqual({});
  });

  test("groups by a tag only with its key", () => {
    expect(usageSearch({ by: "tag" })).toEqual({});
  });

  test("becomes the server's filters; a tag is a key and a value that may hold another =", () => {
    expect(conditions(filtersOf({ class: "own", tagged: "team=a=b", policy: "" }))).toEqual([
      { dimension: Dimension.CLASS, values: ["own"] },
      { dimension: Dimension.POLICY, values: [""] },
      { dimension: Dimension.TAG, tagKey: "team", values: ["a=b"] },
    ]);
  });
});

describe("a range", () => {
  test("lies on quarters of an hour, so that the same is asked until the next begins", () => {
    const range = rangeOf({}, now);
    expect(new Date(range.start).toISOString()).toBe("2026-11-21T10:00:00.000Z");
    expect(new Date(range.end).toISOString()).toBe("2026-11-22T10:15:00.000Z");
    expect(rangeOf({}, now + 60_000)).toEqual(range);
    expect(range.live).toBe(true);
  });

  test("has bars that fit its length", () => {
    const wide = (hours: number) =>
      rangeOf(
        {
          range: "custom",
          from: new Date(now - hours * hour).toISOString(),
          to: new Date(now).toISOString(),
        },
        now,
      ).bucket;
    expect(wide(2)).toBe(TimeBucket.QUARTER_HOUR);
    expect(rangeOf({}, now).bucket).toBe(TimeBucket.HOUR);
    expect(rangeOf({ range: "7d" }, now).bucket).toBe(TimeBucket.HOUR);
    expect(rangeOf({ range: "30d" }, now).bucket).toBe(TimeBucket.DAY);
    expect(rangeOf({ range: "90d" }, now).bucket).toBe(TimeBucket.DAY);
  });

  test("has a bar for each bucket that it touches, also those without usage", () => {
    const starts = bucketStarts(rangeOf({}, now));
    expect(starts).toHaveLength(25);
    expect(new Date(starts[0] ?? 0).toISOString()).toBe("2026-11-21T10:00:00.000Z");
    expect(bucketStarts(rangeOf({ range: "90d" }, now))).toHaveLength(91);
  });

  test("names each day once where there are many bars of a day", () => {
    const starts = tickStarts(rangeOf({ range: "7d" }, now)) ?? [];
    expect(starts).toHaveLength(7);
    expect(starts.every((at) => new Date(at).getHours() === 0)).toBe(true);
    expect(tickStarts(rangeOf({}, now))).toBeUndefined();
    expect(tickStarts(rangeOf({ range: "30d" }, now))).toBeUndefined();
  });

  test("is not live when it ended before now", () => {
    const past = { range: "custom", from: "2026-11-01T00:00:00Z", to: "2026-11-02T00:00:00Z" } as const;
    expect(rangeOf(past, now).live).toBe(false);
  });
});
