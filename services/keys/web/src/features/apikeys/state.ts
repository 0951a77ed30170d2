import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type ApiKey, ProvenanceLevel } from "@/gen/claviger/keys/v1/api_key_pb";

const soon = 7 * 86_400_000;

/** KeyState is whether a key works. Suspended may work again; what is expired or revoked does not. */
type KeyState = "active" | "soon" | "suspended" | "expired" | "revoked";

/** stateOf says whether a key works. */
export function stateOf(key: ApiKey, now: number): KeyState {
  const left = key.expireTime ? timestampMs(key.expireTime) - now : Number.POSITIVE_INFINITY;
  if (key.revokeTime) return "revoked";
  if (left <= 0) return "expired";
  if (key.suspended) return "suspended";
  return left < soon ? "soon" : "active";
}

/** provenanceKey is a level's name in the catalogue. */
export function provenanceKey(level: ProvenanceLevel): "none" | "basic" | "full" {
  if (level === ProvenanceLevel.NONE) return "none";
  return level === ProvenanceLevel.FULL ? "full" : "basic";
}
