import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { TimeBucket, UsageRowSchema } from "@/gen/claviger/metering/v1/usage_pb";
import { barsOf, type Series } from "./bars";
import type { Range } from "./range";
import { byBucket, groupsOf, largest, measured, nothing, sorted, splitOf } from "./sums";

const huge = 9_007_199_254_740_993n; // one more than a float can tell apart

function row(group: string[], cost: bigint, at = 0) {
  return create(UsageRowSchema, {
    group,
    bucketTime: timestampFromMs(at),
    totals: { requests: 1n, attempts: 2n, costNanoUsd: cost, tokens: { inputTotal: 3n, outputTotal: 4n } },
  });
}

describe("sums", () => {
  const rows = [row(["a", "own"], huge), row(["a", "platform"], 1n), row(["b", "own"], 5n)];

  test("are exact, by group and by who paid", () => {
    const [a, b] = groupsOf(rows);
    expect(a?.all.cost).toBe(huge + 1n);
    expect(a?.own.cost).toBe(huge);
    expect(a?.platform.cost).toBe(1n);
    expect(b?.all.attempts).toBe(2n);
    expect(splitOf(rows).all.cost).toBe(huge + 6n);
  });

  test("bring a group together that two pages cut in two", () => {
    expect(groupsOf(rows.slice(0, 1).concat(rows.slice(1)))).toHaveLength(2);
  });

  test("are sorted by a column, and equals by name", () => {
    const groups = groupsOf([...rows, row(["c", "own"], 5n)]);
    const ids = (by: "cost" | "name" | "platform", order: "asc" | "desc") =>
      sorted(groups, by, order, (id) => id).map(({ id }) => id);
    expect(ids("cost", "desc")).toEqual(["a", "b", "c"]);
    expect(ids("cost", "asc")).toEqual(["b", "c", "a"]);
    expect(ids("name", "desc")).toEqual(["c", "b", "a"]);
    expect(ids("platform", "desc")).toEqual(["a", "b", "c"]);
  });

  test("name the largest groups, but none that has nothing", () => {
    expect(largest(groupsOf([...rows, row(["d", "own"], 0n)]), "cost", 9)).toEqual(["a", "b"]);
    expect(largest(groupsOf(rows), "cost", 1)).toEqual(["a"]);
  });

  test("count input and output as tokens", () => {
    expect(measured({ ...nothing(), input: 3n, output: 4n, cached: 2n }, "tokens")).toBe(7n);
  });
});

describe("bars", () => {
  const range: Range = {
    start: 0,
    end: 3_600_000,
    live: false,
    bucket: TimeBucket.QUARTER_HOUR,
    width: 900_000,
  };
  const series: Series[] = [{ key: "g0", id: "a", label: "a", color: "red" }];
  const other: Series = { key: "other", label: "Others", color: "gray" };
  const whole = byBucket([row(["own"], huge, 900_000), row(["platform"], 4n, 900_000)]);

  test("show the parts, and what they leave of the whole as others", () => {
    const parts = byBucket([row(["a"], huge, 900_000)]);
    const made = barsOf({ range, measure: "cost", whole, parts, series, other });
    expect(made.bars.map(({ total }) => total)).toEqual([0n, huge + 4n, 0n, 0n]);
    expect(made.bars[1]?.exact).toEqual({ g0: huge, other: 4n });
    expect(made.series.map(({ key }) => key)).toEqual(["g0", "other"]);
  });

  test("have no others when the parts are the whole", () => {
    const parts = byBucket([row(["a"], huge + 4n, 900_000)]);
    expect(barsOf({ range, measure: "cost", whole, parts, series, other }).series).toHaveLength(1);
  });

  test("are never less than a part that was read a moment later", () => {
    const parts = byBucket([row(["a"], huge + 9n, 900_000)]);
    const bar = barsOf({ range, measure: "cost", whole, parts, series, other }).bars[1];
    expect(bar?.total).toBe(huge + 9n);
    expect(bar?.exact["other"]).toBe(0n);
  });
});
