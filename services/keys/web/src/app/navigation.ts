import {
  type Icon,
  IconActivity,
  IconAdjustmentsHorizontal,
  IconChartBar,
  IconKey,
  IconLayoutDashboard,
  IconLock,
  IconRoute,
  IconRouteScan,
  IconUsers,
  IconUsersGroup,
} from "@tabler/icons-react";
import type { Permissions } from "@/session/permissions";

/** Destination is a page in the navigation and in the command palette. */
export type Destination = {
  id:
    | "overview"
    | "credentials"
    | "policies"
    | "preview"
    | "routing"
    | "groups"
    | "apiKeys"
    | "usage"
    | "requests"
    | "members";
  to:
    | "/o/$org"
    | "/o/$org/credentials"
    | "/o/$org/policies"
    | "/o/$org/preview"
    | "/o/$org/routing"
    | "/o/$org/groups"
    | "/o/$org/api-keys"
    | "/o/$org/usage"
    | "/o/$org/requests"
    | "/o/$org/members";
  icon: Icon;
  may?: keyof Permissions;
};

/** groups are the navigation, in order. A group without a title comes first. */
export const groups: { title?: "setUp" | "watch" | "people"; items: Destination[] }[] = [
  { items: [{ id: "overview", to: "/o/$org", icon: IconLayoutDashboard }] },
  {
    title: "setUp",
    items: [
      { id: "credentials", to: "/o/$org/credentials", icon: IconLock, may: "seeCredentials" },
      { id: "policies", to: "/o/$org/policies", icon: IconRoute },
      { id: "preview", to: "/o/$org/preview", icon: IconRouteScan },
      { id: "routing", to: "/o/$org/routing", icon: IconAdjustmentsHorizontal, may: "seeRouting" },
      { id: "groups", to: "/o/$org/groups", icon: IconUsersGroup, may: "seeRouting" },
      { id: "apiKeys", to: "/o/$org/api-keys", icon: IconKey },
    ],
  },
  {
    title: "watch",
    items: [
      { id: "usage", to: "/o/$org/usage", icon: IconChartBar },
      { id: "requests", to: "/o/$org/requests", icon: IconActivity },
    ],
  },
  { title: "people", items: [{ id: "members", to: "/o/$org/members", icon: IconUsers, may: "seeMembers" }] },
];
