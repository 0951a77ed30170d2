// Numbers and times in the reader's own manner.

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 365 * 86_400_000],
  ["month", 30 * 86_400_000],
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

/** relativeTime says how long ago: "3 minutes ago", "yesterday". */
export function relativeTime(at: number, now: number, locale?: string): string {
  const format = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const distance = at - now;
  for (const [unit, size] of units) {
    if (Math.abs(distance) >= size) return format.format(Math.trunc(distance / size), unit);
  }
  return format.format(0, "second"); // "now"
}

/** absoluteTime says when, in the reader's zone. */
export function absoluteTime(at: number, locale?: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "long" }).format(at);
}

/** utcTime says when in UTC, to the second, as logs do. */
export function utcTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** formatCount groups digits: 12,345. */
export function formatCount(value: bigint | number, locale?: string): string {
  return new Intl.NumberFormat(locale).format(value);
}

/** compactCount shortens: 12.3K. Put the whole number into a title or tooltip. */
export function compactCount(value: bigint | number, locale?: string): string {
  return new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

/**
 * formatCost says an amount of nano-dollars in dollars, to the cent from a dollar on, and below that
 * with as many digits as it takes to see a difference. It computes in integers: no digit is lost.
 */
export function formatCost(nano: bigint, locale?: string): string {
  const size = nano < 0n ? -nano : nano;
  const digits =
    size === 0n || size >= 1_000_000_000n ? 2 : size >= 10_000_000n ? 4 : size >= 10_000n ? 6 : 9;
  const text = `${nano < 0n ? "-" : ""}${size / 1_000_000_000n}.${(size % 1_000_000_000n).toString().padStart(9, "0")}`;
  return new Intl.NumberFormat(locale, {
    style: "currency",
    currency: "USD",
    currencyDisplay: "narrowSymbol", // every amount here is in US dollars
    minimumFractionDigits: 2,
    maximumFractionDigits: digits,
  }).format(text as Intl.StringNumericLiteral);
}

/** formatShare says part of whole in percent; of nothing it is nothing. */
export function formatShare(part: bigint, whole: bigint, locale?: string): string {
  const share = whole === 0n ? 0 : Number((part * 10_000n) / whole) / 10_000;
  return new Intl.NumberFormat(locale, {
    style: "percent",
    maximumFractionDigits: share < 0.1 ? 1 : 0,
  }).format(share);
}
