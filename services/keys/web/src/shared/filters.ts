import { Dimension } from "@/gen/claviger/metering/v1/usage_pb";

/**
 * Filters are what usage and requests are narrowed down to, as the address says it. The empty text is
 * "none", such as requests without a policy. A tag is written as its key and value: "team=search".
 */
export type Filters = {
  model?: string;
  provider?: string;
  class?: "own" | "platform";
  key?: string;
  credential?: string;
  member?: string;
  policy?: string;
  tagged?: string;
};

/** FilterName is something to filter by. */
export type FilterName = keyof Filters;

/** filterNames are all, in the order in which they are shown. */
export const filterNames: readonly FilterName[] = [
  "class",
  "provider",
  "model",
  "policy",
  "key",
  "credential",
  "member",
  "tagged",
];

const dimensions: Record<FilterName, Dimension> = {
  model: Dimension.MODEL,
  provider: Dimension.PROVIDER,
  class: Dimension.CLASS,
  key: Dimension.API_KEY,
  credential: Dimension.CREDENTIAL,
  member: Dimension.MEMBER,
  policy: Dimension.POLICY,
  tagged: Dimension.TAG,
};

// The server's bound, in bytes; more cannot match anything.
const longest = 256;

/** filtersOf reads filters from an address; what it does not understand it leaves out. */
export function filtersOf(search: Record<string, unknown>): Filters {
  const filters: Filters = {};
  for (const name of filterNames) {
    const value = textOf(search[name]);
    if (value === undefined) continue;
    if (name === "class") {
      if (value === "own" || value === "platform") filters.class = value;
    } else if (name !== "tagged" || value.indexOf("=") > 0) {
      filters[name] = value;
    }
  }
  return filters;
}

/** conditions are the filters as the server wants them. */
export function conditions(filters: Filters): { dimension: Dimension; tagKey?: string; values: string[] }[] {
  return filterNames.flatMap((name) => {
    const value = filters[name];
    if (value === undefined) return [];
    const dimension = dimensions[name];
    if (name !== "tagged") return [{ dimension, values: [value] }];
    const at = value.indexOf("=");
    return [{ dimension, tagKey: value.slice(0, at), values: [value.slice(at + 1)] }];
  });
}

/** textOf reads a text from an address. Routers read "model=5" as a number. */
export function textOf(value: unknown): string | undefined {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return undefined;
  const text = String(value);
  return new TextEncoder().encode(text).length <= longest ? text : undefined;
}
