import { useMemo } from "react";
import { useSession } from "@/session/context";
import { useAllApiKeys, useAllCredentials, useAllPolicies } from "./whole";

/** ObjectNames says what people call an object; undefined if this role may not see it or it is gone. */
export type ObjectNames = {
  apiKey: (id: string) => string | undefined;
  credential: (id: string) => string | undefined;
  policy: (id: string) => string | undefined;
  /** What there is to choose from, by name. */
  apiKeys: { id: string; name: string }[];
  policies: { id: string; name: string }[];
  /** There are more API keys than these, such as while they are still being read. */
  moreApiKeys: boolean;
  /** API keys have been read, so that none means that there are none. */
  apiKeysKnown: boolean;
};

/** useObjectNames reads the names of API keys, credentials and policies, as far as the role may. */
export function useObjectNames(): ObjectNames {
  const { may } = useSession();
  const keys = useAllApiKeys();
  const credentials = useAllCredentials(may.seeCredentials).items;
  const policies = useAllPolicies().items;
  return useMemo(() => {
    const keyNames = new Map(keys.items?.map(({ id, name }) => [id, name]));
    const labels = new Map(credentials?.map(({ id, label }) => [id, label]));
    const policyNames = new Map(policies?.map(({ id, name }) => [id, name]));
    return {
      apiKey: (id) => keyNames.get(id),
      credential: (id) => labels.get(id),
      policy: (id) => policyNames.get(id),
      apiKeys: listed(keyNames),
      policies: listed(policyNames),
      moreApiKeys: keys.more,
      apiKeysKnown: keys.complete,
    };
  }, [keys, credentials, policies]);
}

function listed(names: Map<string, string>): { id: string; name: string }[] {
  return [...names].map(([id, name]) => ({ id, name })).sort((a, b) => a.name.localeCompare(b.name));
}
