import { Role } from "@/gen/claviger/options/v1/options_pb";

/**
 * What a role may do, for showing and hiding. The server decides; this only spares people buttons that
 * would be refused.
 */
export type Permissions = {
  seeCredentials: boolean;
  manageCredentials: boolean;
  managePolicies: boolean;
  /** What holds for every request says whose keys are used. */
  seeRouting: boolean;
  manageRouting: boolean;
  approveModels: boolean;
  manageGroups: boolean;
  createApiKeys: boolean;
  /** Of other people; everybody who may create keys manages their own. */
  manageApiKeys: boolean;
  seeMembers: boolean;
  manageMembers: boolean;
  manageOwners: boolean;
};

/** permissionsOf returns what a role may do. */
export function permissionsOf(role: Role): Permissions {
  const owner = role === Role.OWNER;
  const admin = owner || role === Role.ADMIN;
  const sees = admin || role === Role.VIEWER;
  return {
    seeCredentials: sees,
    manageCredentials: owner,
    managePolicies: admin,
    seeRouting: sees,
    manageRouting: owner,
    approveModels: admin,
    manageGroups: admin,
    createApiKeys: admin || role === Role.MEMBER,
    manageApiKeys: admin,
    seeMembers: sees,
    manageMembers: admin,
    manageOwners: owner,
  };
}
