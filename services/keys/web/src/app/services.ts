import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { QueryClient } from "@tanstack/react-query";
import { SessionService } from "@/gen/claviger/keys/v1/session_pb";
import { Sessions } from "@/session/sessions";
import { authorize } from "@/session/transport";
import { problemOf } from "@/shared/errors/problem";

const baseUrl = location.origin;

/** sessions is this page's. */
export const sessions = new Sessions(createClient(SessionService, createConnectTransport({ baseUrl })));

/** Office is what the pages of one organization share: its way to the server, and its cache. */
export type Office = { transport: Transport; queries: QueryClient };

const offices = new Map<string, Office>();

/** officeOf returns the organization's own transport and cache, so that nothing crosses over. */
export function officeOf(slug: string): Office {
  let office = offices.get(slug);
  if (!office) {
    office = {
      transport: createConnectTransport({ baseUrl, interceptors: [authorize(sessions, slug)] }),
      queries: newQueryClient(),
    };
    offices.set(slug, office);
  }
  return office;
}

/** newQueryClient returns a cache that asks again only where that can help. */
export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        retry: (failures, error) => failures < 2 && problemOf(error).temporary,
      },
      // Answers of changes may hold secrets: they are not kept. Use useAction for changes.
      mutations: { gcTime: 0, retry: false },
    },
  });
}

const wire = "BroadcastChannel" in globalThis ? new BroadcastChannel("claviger.sessions") : undefined;

// What was seen under a session is forgotten with it, in every tab.
sessions.subscribe((slug, ending) => {
  if (!ending) return;
  offices.get(slug)?.queries.clear();
  offices.delete(slug);
  if (ending === "signed-out") wire?.postMessage({ signedOut: slug });
});

wire?.addEventListener("message", ({ data }: MessageEvent<{ signedOut?: unknown }>) => {
  if (typeof data?.signedOut === "string" && sessions.signed(data.signedOut)) {
    sessions.drop(data.signedOut, "expired");
  }
});
