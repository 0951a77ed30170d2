import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { SessionService } from "@/gen/claviger/keys/v1/session_pb";
import { Sessions } from "@/session/sessions";

/** sessions is this page's. */
export const sessions = new Sessions(
  createClient(SessionService, createConnectTransport({ baseUrl: location.origin })),
);

const wire = "BroadcastChannel" in globalThis ? new BroadcastChannel("claviger.sessions") : undefined;

// Who signs out in one tab is signed out in all.
sessions.subscribe((slug, ending) => {
  if (ending === "signed-out") wire?.postMessage({ signedOut: slug });
});

wire?.addEventListener("message", ({ data }: MessageEvent<{ signedOut?: unknown }>) => {
  if (typeof data?.signedOut === "string" && sessions.signed(data.signedOut)) {
    sessions.drop(data.signedOut, "expired");
  }
});
