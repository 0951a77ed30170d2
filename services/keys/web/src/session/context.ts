import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { useTransport } from "@connectrpc/connect-query";
import { createContext, useContext, useMemo } from "react";
import { type Permissions, permissionsOf } from "./permissions";
import type { Signed } from "./sessions";

/** SessionContext is who is signed in, under the pages of an organization. */
export const SessionContext = createContext<Signed | null>(null);

/** useSession returns who is signed in, and what they may do. */
export function useSession(): Signed & { may: Permissions; org: string } {
  const signed = useContext(SessionContext);
  if (!signed) throw new Error("useSession is for pages of an organization");
  return useMemo(
    () => ({ ...signed, org: signed.organization.slug, may: permissionsOf(signed.member.role) }),
    [signed],
  );
}

/** useClient returns a client of a service that calls as the person who is signed in. */
export function useClient<S extends DescService>(service: S): Client<S> {
  const transport = useTransport();
  return useMemo(() => createClient(service, transport), [service, transport]);
}
