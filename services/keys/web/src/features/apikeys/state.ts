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

/** expiryAfter is the end of the day that is a number of days away, in the reader's zone. */
export function expiryAfter(days: number, now: number): Date {
  const end = new Date(now);
  end.setDate(end.getDate() + days);
  end.setHours(23, 59, 59, 0);
  return end;
}

/** expiryOn is the end of a day written as 2026-11-22; undefined if it is no day, or is over. */
export function expiryOn(day: string, now: number): Date | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day);
  if (!match) return undefined;
  const [year, month, date] = match.slice(1).map(Number) as [number, number, number];
  const end = new Date(year, month - 1, date, 23, 59, 59);
  return end.getMonth() === month - 1 && end.getTime() > now ? end : undefined;
}
