import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { apiKeysSearch } from "@/features/apikeys/search";
import { previewSearch } from "@/features/preview/search";
import { requestsSearch } from "@/features/requests/search";
import { usageSearch } from "@/features/usage/search";
import { knownOrganizations, remember } from "@/session/known";
import { type Ending, SignedOutError } from "@/session/sessions";
import { NotFound, NothingHere, PageFailed, Pending } from "./boundaries";
import { sessions } from "./sessions";

const rootRoute = createRootRoute({ component: Outlet, notFoundComponent: NothingHere });

const indexRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/",
  beforeLoad: () => {
    const last = knownOrganizations()[0];
    if (last) throw redirect({ to: "/o/$org", params: { org: last.slug }, replace: true });
    throw redirect({ to: "/sign-in", replace: true });
  },
});

/** SignInSearch is what the address of the sign-in page may say. */
export type SignInSearch = { org?: string; to?: string; ended?: Ending };

const signInRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/sign-in",
  validateSearch: (search: Record<string, unknown>): SignInSearch => ({
    org: slug(search["org"]),
    to: place(search["to"]),
    ended: endings.find((ending) => ending === search["ended"]),
  }),
  component: lazyRouteComponent(() => import("@/features/session/SignInPage"), "SignInPage"),
});

const orgRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/o/$org",
  beforeLoad: async ({ params, location }) => {
    const known = sessions.signed(params.org) !== undefined;
    try {
      const signed = await sessions.ensure(params.org);
      remember(signed.organization);
      return { signed };
    } catch (error) {
      if (!(error instanceof SignedOutError)) throw error;
      throw redirect({
        to: "/sign-in",
        search: { org: params.org, to: place(location.href), ended: known ? "expired" : undefined },
        replace: true,
      });
    }
  },
  component: lazyRouteComponent(() => import("./Shell"), "Shell"),
  notFoundComponent: NotFound,
});

// Every page is a chunk of its own. Its search parameters are read here, so that links to it are checked.
const pages = [
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/",
    component: lazyRouteComponent(() => import("@/features/overview/OverviewPage"), "OverviewPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/bring-a-key",
    component: lazyRouteComponent(() => import("@/features/firstkey/FirstKeyPage"), "FirstKeyPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/credentials",
    component: lazyRouteComponent(() => import("@/features/credentials/CredentialsPage"), "CredentialsPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/credentials/$credentialId",
    component: lazyRouteComponent(() => import("@/features/credentials/CredentialPage"), "CredentialPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/policies",
    component: lazyRouteComponent(() => import("@/features/policies/PoliciesPage"), "PoliciesPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/policies/new",
    component: lazyRouteComponent(() => import("@/features/policies/PolicyPage"), "NewPolicyPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/policies/$policyId",
    component: lazyRouteComponent(() => import("@/features/policies/PolicyPage"), "PolicyPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/preview",
    validateSearch: previewSearch,
    component: lazyRouteComponent(() => import("@/features/preview/PreviewPage"), "PreviewPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/routing",
    component: lazyRouteComponent(() => import("@/features/routing/RoutingPage"), "RoutingPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/groups",
    component: lazyRouteComponent(() => import("@/features/groups/GroupsPage"), "GroupsPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/api-keys",
    validateSearch: apiKeysSearch,
    component: lazyRouteComponent(() => import("@/features/apikeys/ApiKeysPage"), "ApiKeysPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/usage",
    validateSearch: usageSearch,
    component: lazyRouteComponent(() => import("@/features/usage/UsagePage"), "UsagePage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/requests",
    validateSearch: requestsSearch,
    component: lazyRouteComponent(() => import("@/features/requests/RequestsPage"), "RequestsPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/requests/$requestId",
    component: lazyRouteComponent(() => import("@/features/requests/RequestPage"), "RequestPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/members",
    component: lazyRouteComponent(() => import("@/features/members/MembersPage"), "MembersPage"),
  }),
  createRoute({
    getParentRoute: () => orgRoute,
    path: "/account",
    component: lazyRouteComponent(() => import("@/features/session/AccountPage"), "AccountPage"),
  }),
] as const;

const routeTree = rootRoute.addChildren([indexRoute, signInRoute, orgRoute.addChildren(pages)]);

/** router knows every page. */
export const router = createRouter({
  routeTree,
  defaultPreload: "intent",
  defaultPendingComponent: Pending,
  defaultErrorComponent: PageFailed,
  defaultNotFoundComponent: NothingHere,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

const endings: readonly Ending[] = ["signed-out", "expired", "unsure"];

function slug(value: unknown): string | undefined {
  return typeof value === "string" && /^[a-z][a-z0-9-]{1,39}$/.test(value) ? value : undefined;
}

// Only pages of an organization here are places to return to; anything else could lead away.
function place(value: unknown): string | undefined {
  return typeof value === "string" && /^\/o\/[a-z][a-z0-9-]{1,39}(?:[/?#]|$)/.test(value) ? value : undefined;
}
