import { decimalUsd } from "@/shared/money";
import type { Group, Sums } from "./sums";

/**
 * csvOf writes a table as RFC 4180 says. Texts come from people and providers: what a spreadsheet would
 * run as a formula gets an apostrophe in front. Numbers are written by us, and stay as they are.
 */
export function csvOf(rows: readonly (readonly (string | bigint)[])[]): string {
  return rows
    .map((row) => row.map(cell).join(","))
    .join("\r\n")
    .concat("\r\n");
}

function cell(value: string | bigint): string {
  if (typeof value === "bigint") return value.toString();
  if (/^-?\d+(\.\d+)?$/.test(value)) return value;
  const text = /^\s*[=+\-@]|^[\t\r\n|%]/.test(value) ? `'${value}` : value;
  return /[",\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// What is counted besides tokens; a table without any has the columns all the same.
const unitColumns = [
  ["image", "images"],
  ["second", "seconds"],
  ["megapixel", "megapixels"],
  ["request", "request_units"],
  ["credit", "credits"],
  ["character", "characters"],
] as const;

/** usageCsv writes the groups as they are shown. Columns keep their names in every language. */
export function usageCsv(by: string, groups: readonly Group[], nameOf: (id: string) => string): string {
  const header = [
    by,
    "name",
    "requests",
    "attempts",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "own_cost_usd",
    "platform_cost_usd",
    "cost_usd",
    "attempts_of_unknown_cost",
    "estimated_attempts",
    "estimated_cost_usd",
    "provider_cost_usd",
    "reported_cost_usd",
    ...unitColumns.map(([, column]) => column),
  ];
  return csvOf([
    header,
    ...groups.map(({ id, own, platform, all }) => [
      id,
      nameOf(id),
      all.requests,
      all.attempts,
      all.errors,
      all.input,
      all.output,
      all.cached,
      known(own),
      known(platform),
      known(all),
      all.unknownCost,
      all.estimated,
      decimalUsd(all.estimatedCost),
      decimalUsd(all.providerCost),
      decimalUsd(all.reportedCost),
      ...unitColumns.map(([name]) => thousandths(all.units.get(name) ?? 0n)),
    ]),
  ]);
}

function thousandths(milli: bigint): string {
  return decimalUsd(milli * 1_000_000n);
}

// An empty cell is unknown, which is not zero.
function known({ cost, unknownCost }: Sums): string {
  return cost === 0n && unknownCost > 0n ? "" : decimalUsd(cost);
}

/** save gives a text to the browser as a file. It never leaves the machine for it. */
export function save(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
