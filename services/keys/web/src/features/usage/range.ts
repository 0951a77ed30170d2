import { TimeBucket } from "@/gen/claviger/metering/v1/usage_pb";
import type { Preset, UsageSearch } from "./search";

/** quarter is the server's finest step. */
export const quarter = 15 * 60_000;

const hour = 60 * 60_000;
const day = 24 * hour;
const spans: Record<Preset, number> = { "24h": day, "7d": 7 * day, "30d": 30 * day, "90d": 90 * day };

/** Range is a time range with the width of a bar in it. Its ends lie on whole quarters of an hour. */
export type Range = {
  start: number;
  end: number;
  /** Whether it ends now, so that it is read again and again. */
  live: boolean;
  bucket: TimeBucket;
  /** The bucket's width. */
  width: number;
};

/** rangeOf returns the range that an address means at a moment. */
export function rangeOf(search: UsageSearch, now: number): Range {
  let start: number;
  let end: number;
  let live = true;
  if (search.range === "custom" && search.from && search.to) {
    start = Date.parse(search.from);
    end = Date.parse(search.to);
    live = end > now;
  } else {
    end = now;
    start = now - spans[search.range === "custom" ? "24h" : (search.range ?? "24h")];
  }
  start = Math.floor(start / quarter) * quarter;
  end = Math.ceil(end / quarter) * quarter;
  return { start, end, live, ...bucketFor(end - start) };
}

// Enough bars to see a shape, few enough to tell them apart.
function bucketFor(span: number): { bucket: TimeBucket; width: number } {
  if (span <= 12 * hour) return { bucket: TimeBucket.QUARTER_HOUR, width: quarter };
  if (span <= 8 * day) return { bucket: TimeBucket.HOUR, width: hour };
  return { bucket: TimeBucket.DAY, width: day };
}

/** bucketStarts are the beginnings of all buckets in a range, also of those without any usage. */
export function bucketStarts({ start, end, width }: Range): number[] {
  const starts: number[] = [];
  for (let at = Math.floor(start / width) * width; at < end; at += width) starts.push(at);
  return starts;
}

/**
 * tickStarts are the buckets that an axis names: each day's first, where there are many of a day; else
 * undefined, and the axis chooses.
 */
export function tickStarts(range: Range): number[] | undefined {
  if (range.width === day || range.end - range.start <= 25 * hour) return undefined;
  const firsts = new Map<string, number>();
  for (const at of bucketStarts(range)) {
    const date = new Date(at).toDateString();
    if (!firsts.has(date)) firsts.set(date, at);
  }
  // The first day is cut off at the start; its name would stand on the next one's.
  const [cut, ...starts] = firsts.values();
  return starts.length > 0 ? starts : cut === undefined ? undefined : [cut];
}

/** bucketName says when a bucket is. Days are UTC days, as the server counts them. */
export function bucketName(at: number, width: number, locale?: string): string {
  return width === day
    ? new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(at)
    : new Intl.DateTimeFormat(locale, {
        month: "short",
        day: "numeric",
        hour: "2-digit",
        minute: "2-digit",
        hourCycle: "h23",
      }).format(at);
}

/** tickName is the short form, for an axis. */
export function tickName(at: number, { start, end, width }: Range, locale?: string): string {
  if (width < day && end - start <= 25 * hour) {
    return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(
      at,
    );
  }
  return new Intl.DateTimeFormat(locale, {
    month: "short",
    day: "numeric",
    timeZone: width === day ? "UTC" : undefined,
  }).format(at);
}

/** clockName says a moment to the second, with the date if it is not today. */
export function clockName(at: number, now: number, locale?: string): string {
  const today = new Date(at).toDateString() === new Date(now).toDateString();
  return new Intl.DateTimeFormat(locale, {
    ...(today ? {} : { month: "short", day: "numeric" }),
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).format(at);
}
