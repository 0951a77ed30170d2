import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type ApiKey, ProvenanceLevel } from "@/gen/claviger/keys/v1/api_key_pb";

const soon = 7 * 86_400_000;

/** stateOf says whether a key works. */
export function stateOf(key: ApiKey, now: number): "active" | "soon" | "expired" | "revoked" {
  if (key.revokeTime) return "revoked";
  if (!key.expireTime) return "active";
  const left = timestampMs(key.expireTime) - now;
  if (left <= 0) return "expired";
  return left < soon ? "soon" : "active";
}

/** provenanceKey is a level's name in the catalogue. */
export function provenanceKey(level: ProvenanceLevel): "none" | "basic" | "full" {
  if (level === ProvenanceLevel.NONE) return "none";
  return level === ProvenanceLevel.FULL ? "full" : "basic";
}
