import type { Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { QueryClient } from "@tanstack/react-query";
import { authorize } from "@/session/transport";
import { problemOf } from "@/shared/errors/problem";
import { sessions } from "./sessions";

/** Office is what the pages of one organization share: its way to the server, and its cache. */
export type Office = { transport: Transport; queries: QueryClient };

const offices = new Map<string, Office>();

/** officeOf returns the organization's own transport and cache, so that nothing crosses over. */
export function officeOf(slug: string): Office {
  let office = offices.get(slug);
  if (!office) {
    office = {
      transport: createConnectTransport({
        baseUrl: location.origin,
        interceptors: [authorize(sessions, slug)],
      }),
      queries: newQueryClient(),
    };
    offices.set(slug, office);
  }
  return office;
}

// A cache that asks again only where that can help.
function newQueryClient(): QueryClient {
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

// What was seen under a session is forgotten with it.
sessions.subscribe((slug, ending) => {
  if (!ending) return;
  offices.get(slug)?.queries.clear();
  offices.delete(slug);
});
