import { useInfiniteQuery } from "@connectrpc/connect-query";
import { useCallback, useMemo } from "react";
import { useTranslation } from "react-i18next";
import { MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { useSession } from "@/session/context";
import { first, paged, useWhole } from "./whole";

/**
 * useNames returns how to say who a member is: "you", their address, or that they have left. Roles that
 * may not see the others get their ids.
 */
export function useNames(): (id: string) => string {
  const { t } = useTranslation();
  const { member, may } = useSession();
  const { items, complete } = useWhole(
    useInfiniteQuery(MemberService.method.listMembers, first, { ...paged, enabled: may.seeMembers }),
    (page) => page.members,
  );
  const emails = useMemo(() => new Map(items?.map(({ id, email }) => [id, email])), [items]);
  return useCallback(
    (id) => {
      if (id === member.id) return t("common.you");
      const email = emails.get(id);
      if (email) return email;
      return complete ? t("common.somebody") : id;
    },
    [t, member.id, emails, complete],
  );
}
