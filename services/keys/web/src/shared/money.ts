// Money is nano-dollars in bigint from the wire to the screen. No amount ever becomes a float.

const nanoPerDollar = 1_000_000_000n;

/** decimalUsd writes an amount in dollars with every digit and no more: "0.0000291", "12", "-0.5". */
export function decimalUsd(nano: bigint): string {
  const size = nano < 0n ? -nano : nano;
  const rest = (size % nanoPerDollar).toString().padStart(9, "0").replace(/0+$/, "");
  return `${nano < 0n ? "-" : ""}${size / nanoPerDollar}${rest && `.${rest}`}`;
}

/** exactCost says an amount with every digit, at least to the cent: "$0.0000291", "$12.00". */
export function exactCost(nano: bigint, locale?: string): string {
  return new Intl.NumberFormat(locale, {
    style: "currency",
    currency: "USD",
    currencyDisplay: "narrowSymbol", // every amount here is in US dollars
    minimumFractionDigits: 2,
    maximumFractionDigits: 9,
  }).format(decimalUsd(nano) as Intl.StringNumericLiteral);
}

/**
 * share says a part of a whole in percent, with one digit and never rounded away: what is not nothing
 * is at least "<0.1%", and what is not all is at most ">99.9%".
 */
export function share(part: bigint, whole: bigint, locale?: string): string {
  const format = (permille: bigint) =>
    new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 }).format(
      Number(permille) / 1000,
    );
  if (part === 0n || whole === 0n) return format(0n);
  if (part === whole) return format(1000n);
  const permille = (part * 2000n + whole) / (whole * 2n);
  if (permille === 0n) return `<${format(1n)}`;
  if (permille === 1000n) return `>${format(999n)}`;
  return format(permille);
}
