import { CredentialState } from "@/gen/claviger/keys/v1/credential_pb";

/** StateKey is a state's name in the catalogue. */
export type StateKey =
  | "unverified"
  | "active"
  | "degraded"
  | "quotaExhausted"
  | "rejected"
  | "disabled"
  | "noSecret"
  | "expired"
  | "unknown";

/** Tone is how good a state is. */
export type Tone = "good" | "warn" | "bad" | "quiet";

const states: Record<CredentialState, { key: StateKey; tone: Tone }> = {
  [CredentialState.UNSPECIFIED]: { key: "unknown", tone: "quiet" },
  [CredentialState.UNVERIFIED]: { key: "unverified", tone: "warn" },
  [CredentialState.ACTIVE]: { key: "active", tone: "good" },
  [CredentialState.DEGRADED]: { key: "degraded", tone: "warn" },
  [CredentialState.QUOTA_EXHAUSTED]: { key: "quotaExhausted", tone: "bad" },
  [CredentialState.REJECTED]: { key: "rejected", tone: "bad" },
  [CredentialState.DISABLED]: { key: "disabled", tone: "quiet" },
  [CredentialState.NO_SECRET]: { key: "noSecret", tone: "bad" },
  [CredentialState.EXPIRED]: { key: "expired", tone: "bad" },
};

/** stateOf says how a state is called and how good it is; one of a newer server is unknown. */
export function stateOf(state: CredentialState): { key: StateKey; tone: Tone } {
  return states[state] ?? { key: "unknown", tone: "quiet" };
}

/**
 * reasonParts splits the server's reason, "what; what to do", into sentences.
 */
export function reasonParts(reason: string): { what: string; next: string } {
  const cut = reason.indexOf("; ");
  if (cut < 0) return { what: sentence(reason), next: "" };
  return { what: sentence(reason.slice(0, cut)), next: sentence(reason.slice(cut + 2)) };
}

function sentence(text: string): string {
  if (!text) return "";
  const start = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}
