import { create } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { TransportProvider } from "@connectrpc/connect-query";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import {
  createMemoryHistory,
  createRootRoute,
  createRoute,
  createRouter,
  RouterProvider,
} from "@tanstack/react-router";
import { render } from "@testing-library/react";
import { MemberSchema } from "@/gen/claviger/keys/v1/member_pb";
import { OrganizationSchema } from "@/gen/claviger/keys/v1/organization_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { SessionContext } from "@/session/context";
import { namedTheme } from "@/theme/named";

/** signedIn returns somebody of the organization acme. */
export function signedIn(role: Role = Role.OWNER) {
  return {
    member: create(MemberSchema, { id: "mem_1", email: "owner@acme.example", role, etag: "1" }),
    organization: create(OrganizationSchema, { id: "org_1", slug: "acme", name: "Acme", etag: "1" }),
  };
}

/** renderPage draws a page of the organization acme, with the given server behind it. */
export async function renderPage(
  page: React.ReactNode,
  { transport, role }: { transport: Transport; role?: Role },
) {
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const root = createRootRoute();
  const any = createRoute({
    getParentRoute: () => root,
    path: "/o/$org/$",
    component: () => (
      <SessionContext.Provider value={signedIn(role)}>
        <TransportProvider transport={transport}>
          <QueryClientProvider client={queries}>{page}</QueryClientProvider>
        </TransportProvider>
      </SessionContext.Provider>
    ),
  });
  const router = createRouter({
    routeTree: root.addChildren([any]),
    history: createMemoryHistory({ initialEntries: ["/o/acme/page"] }),
  });
  await router.load();
  const view = render(
    <MantineProvider theme={namedTheme()} withCssVariables={false} withGlobalClasses={false} env="test">
      {/* biome-ignore lint/suspicious/noExplicitAny: a router of its own, with one page */}
      <RouterProvider router={router as any} />
    </MantineProvider>,
  );
  return { ...view, router, queries };
}
