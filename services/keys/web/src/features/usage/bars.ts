import { bucketStarts, type Range } from "./range";
import type { Measure } from "./search";
import { measured, type Sums } from "./sums";

/** Series is a color of the bars. */
export type Series = { key: string; id?: string; label: string; color: string };

/**
 * Bar is one bucket of the chart. The exact numbers are what people read; the heights are what is drawn,
 * and a pixel does not mind a float.
 */
export type Bar = {
  at: number;
  total: bigint;
  exact: Record<string, bigint>;
  heights: Record<string, number>;
};

type Buckets = ReadonlyMap<number, ReadonlyMap<string, Sums>>;

/**
 * barsOf makes the bars of a range: of each bucket the parts, and as other what the parts leave of the
 * whole. Other is left out if there is nothing of it in any bucket.
 */
export function barsOf(from: {
  range: Range;
  measure: Measure;
  whole: Buckets;
  parts: Buckets;
  series: Series[];
  other: Series;
}): { series: Series[]; bars: Bar[] } {
  let others = false;
  const bars = bucketStarts(from.range).map((at) => {
    let total = 0n;
    for (const sums of from.whole.get(at)?.values() ?? []) total += measured(sums, from.measure);
    let rest = total;
    const exact: Record<string, bigint> = {};
    for (const { key, id } of from.series) {
      const value = measured(from.parts.get(at)?.get(id ?? ""), from.measure);
      exact[key] = value;
      rest -= value;
    }
    // Two readings a moment apart can disagree; a part is never more than the whole.
    if (rest < 0n) {
      total -= rest;
      rest = 0n;
    }
    exact[from.other.key] = rest;
    others ||= rest > 0n;
    const heights = Object.fromEntries(Object.entries(exact).map(([key, value]) => [key, Number(value)]));
    return { at, total, exact, heights };
  });
  return { series: others ? [...from.series, from.other] : from.series, bars };
}
