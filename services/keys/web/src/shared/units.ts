import type { TFunction } from "i18next";

// In the order in which they are told: what was made, what is billed for it, and that there was a request.
const known = ["image", "second", "megapixel", "character", "credit", "request"] as const;

/**
 * unitWords says how much of a unit was taken, from thousandths of it: "2 images", "1.05 megapixels".
 * Of video are the seconds of an attempt that made one; sums know nothing of that.
 */
export function unitWords(t: TFunction, { name, milli }: { name: string; milli: bigint }, video = false) {
  const whole = milli % 1000n === 0n;
  const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 }).format(
    `${milli / 1000n}.${(milli % 1000n).toString().padStart(3, "0")}` as Intl.StringNumericLiteral,
  );
  const unit = known.find((each) => each === name);
  if (!unit) return `${number} ${name}`;
  if (unit === "second" && video) return t("common.units.video", { number });
  // A part of one is many: "0.5 megapixels".
  return t(`common.units.${unit}`, { number, count: whole ? Number(milli / 1000n) : 0 });
}

/** unitOrder compares units by the order in which they are told. */
export function unitOrder(a: string, b: string): number {
  const names: readonly string[] = known;
  const place = (name: string) => (names.includes(name) ? names.indexOf(name) : names.length);
  return place(a) - place(b) || a.localeCompare(b);
}
