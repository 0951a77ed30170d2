/** UsageSearch is what the address of the usage page says. */
export type UsageSearch = Record<never, never>;

/** usageSearch reads it; what it does not understand it leaves out. */
export function usageSearch(_search: Record<string, unknown>): UsageSearch {
  return {};
}
