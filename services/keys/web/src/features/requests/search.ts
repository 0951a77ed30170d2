import { type Filters, filtersOf } from "@/shared/filters";

/** RequestsSearch is what the address of the requests page says. */
export type RequestsSearch = Filters & {
  /** Only attempts that did not end well. */
  errors?: true;
};

/** requestsSearch reads it; what it does not understand it leaves out. */
export function requestsSearch(search: Record<string, unknown>): RequestsSearch {
  const result: RequestsSearch = filtersOf(search);
  if (search["errors"] === true) result.errors = true;
  return result;
}
