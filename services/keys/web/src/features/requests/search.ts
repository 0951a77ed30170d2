/** RequestsSearch is what the address of the requests page says. */
export type RequestsSearch = Record<never, never>;

/** requestsSearch reads it; what it does not understand it leaves out. */
export function requestsSearch(_search: Record<string, unknown>): RequestsSearch {
  return {};
}
