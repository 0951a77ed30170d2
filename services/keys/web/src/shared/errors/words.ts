import { Code } from "@connectrpc/connect";
import type { TFunction } from "i18next";
import type { Problem } from "./problem";

/** Words are a problem in words. */
export type Words = { what: string; next: string };

/** problemWords says what happened and what to do next, preferring the server's own words. */
export function problemWords(t: TFunction, problem: Problem): Words {
  const own = ownWords(t, problem);
  const what = problem.message ? sentence(problem.message) : own.what;
  // Where the server knows what happened and gives no hint, ours could be wrong.
  let next = problem.hint ? sentence(problem.hint) : problem.message && !general(problem) ? "" : own.next;
  if (problem.retryAfter > 0) next = t("errors.retryAfter", { count: problem.retryAfter });
  return { what, next };
}

function general({ code }: Problem): boolean {
  return code === Code.Internal || code === Code.Unavailable || code === Code.DeadlineExceeded;
}

function ownWords(t: TFunction, problem: Problem): Words {
  if (problem.offline) return { what: t("errors.offline.what"), next: t("errors.offline.next") };
  switch (problem.code) {
    case Code.Unavailable:
    case Code.DeadlineExceeded:
      return { what: t("errors.unavailable.what"), next: t("errors.unavailable.next") };
    case Code.PermissionDenied:
      return { what: t("errors.denied.what"), next: t("errors.denied.next") };
    case Code.NotFound:
      return { what: t("errors.notFound.what"), next: t("errors.notFound.next") };
    case Code.Aborted:
      return { what: t("errors.conflict.what"), next: t("errors.conflict.next") };
    case Code.Unauthenticated:
      return { what: t("errors.signedOut.what"), next: t("errors.signedOut.next") };
    case Code.Unimplemented:
      return { what: t("errors.unimplemented.what"), next: t("errors.unimplemented.next") };
    default:
      return { what: t("errors.internal.what"), next: t("errors.internal.next") };
  }
}

// Server messages are lower case without a full stop, for logs and terminals.
function sentence(text: string): string {
  const first = text.charAt(0).toLocaleUpperCase();
  const rest = text.slice(1);
  return /[.!?…]$/.test(rest) ? first + rest : `${first}${rest}.`;
}
