import { useQuery } from "@connectrpc/connect-query";
import { useCallback, useMemo } from "react";
import { useTranslation } from "react-i18next";
import { MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { useSession } from "@/session/context";

/**
 * useNames returns how to say who a member is: "you", their address, or that they have left. Roles that
 * may not see the others get their ids.
 */
export function useNames(): (id: string) => string {
  const { t } = useTranslation();
  const { member, may } = useSession();
  const { data } = useQuery(
    MemberService.method.listMembers,
    { pageSize: 500 },
    { enabled: may.seeMembers, staleTime: 60_000 },
  );
  const emails = useMemo(() => new Map(data?.members.map(({ id, email }) => [id, email])), [data]);
  return useCallback(
    (id) => {
      if (id === member.id) return t("common.you");
      const email = emails.get(id);
      if (email) return email;
      return data && !data.nextPageToken ? t("common.somebody") : id;
    },
    [t, member.id, emails, data],
  );
}
