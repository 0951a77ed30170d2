import { useQuery } from "@connectrpc/connect-query";
import { useMemo } from "react";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useSession } from "@/session/context";

/** ObjectNames says what people call an object; undefined if this role may not see it or it is gone. */
export type ObjectNames = {
  apiKey: (id: string) => string | undefined;
  credential: (id: string) => string | undefined;
  policy: (id: string) => string | undefined;
  /** What there is to choose from, by name. */
  apiKeys: { id: string; name: string }[];
  policies: { id: string; name: string }[];
};

const page = { pageSize: 500 };
const rarely = { staleTime: 60_000 };

/** useObjectNames reads the names of API keys, credentials and policies, as far as the role may. */
export function useObjectNames(): ObjectNames {
  const { may } = useSession();
  const keys = useQuery(ApiKeyService.method.listApiKeys, page, rarely);
  const credentials = useQuery(CredentialService.method.listCredentials, page, {
    ...rarely,
    enabled: may.seeCredentials,
  });
  const policies = useQuery(PolicyService.method.listPolicies, page, rarely);
  return useMemo(() => {
    const keyNames = new Map(keys.data?.apiKeys.map(({ id, name }) => [id, name]));
    const labels = new Map(credentials.data?.credentials.map(({ id, label }) => [id, label]));
    const policyNames = new Map(policies.data?.policies.map(({ id, name }) => [id, name]));
    return {
      apiKey: (id) => keyNames.get(id),
      credential: (id) => labels.get(id),
      policy: (id) => policyNames.get(id),
      apiKeys: listed(keyNames),
      policies: listed(policyNames),
    };
  }, [keys.data, credentials.data, policies.data]);
}

function listed(names: Map<string, string>): { id: string; name: string }[] {
  return [...names].map(([id, name]) => ({ id, name })).sort((a, b) => a.name.localeCompare(b.name));
}
