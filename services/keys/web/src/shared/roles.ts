import { Role } from "@/gen/claviger/options/v1/options_pb";

/** roleKey is a role's name in the catalogue. */
export function roleKey(role: Role): "owner" | "admin" | "member" | "viewer" | "unknown" {
  switch (role) {
    case Role.OWNER:
      return "owner";
    case Role.ADMIN:
      return "admin";
    case Role.MEMBER:
      return "member";
    case Role.VIEWER:
      return "viewer";
    default:
      return "unknown";
  }
}
