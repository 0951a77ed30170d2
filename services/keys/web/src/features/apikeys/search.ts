/** ApiKeysSearch is what the address of the API keys page says. */
export type ApiKeysSearch = {
  /** The form for a new key is open. */
  create?: true;
  /** Keys that do not work any more are shown, too. */
  ended?: true;
};

/** apiKeysSearch reads it; what it does not understand it leaves out. */
export function apiKeysSearch(search: Record<string, unknown>): ApiKeysSearch {
  return {
    create: search["create"] === true ? true : undefined,
    ended: search["ended"] === true ? true : undefined,
  };
}
