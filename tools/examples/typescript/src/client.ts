// Calls the router's CompletionService over gRPC as an internal service should: the key never in the
// clear, one deadline as a budget, no answer paid twice, and errors that say what to do. It is an
// example to copy, and the end-to-end tests run it.
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { CompletionService } from "./gen/claviger/router/v1/completion_pb.js";
import { Health, HealthCheckResponse_ServingStatus } from "./gen/grpc/health/v1/health_pb.js";

export interface Options {
  /** The router's gRPC listener, such as "https://router.internal:7171". */
  baseUrl: string;
  /** The key that an admin made for this service. */
  apiKey: string;
  /** PEM certificates in place of the machine's authorities. */
  ca?: string;
  /** The W3C traceparent of the span that makes the call. With OpenTelemetry: propagation.inject. */
  traceparent?: () => string | undefined;
}

export interface Router {
  completions: Client<typeof CompletionService>;
  /** For the caller's own readiness, not for asking before each call. */
  healthy(timeoutMs: number): Promise<boolean>;
}

const loopback = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** Prepares a client. Make one per process and share it: it keeps one HTTP/2 connection. */
export function dial(options: Options): Router {
  const url = new URL(options.baseUrl);
  if (url.protocol !== "https:" && !loopback.has(url.hostname)) {
    throw new Error(`${url.host} is not on this machine: the API key would travel in the clear`);
  }
  const headers: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${options.apiKey}`);
    // The router's spans and the usage of the request then belong to the caller's trace.
    const traceparent = options.traceparent?.();
    if (traceparent) request.header.set("traceparent", traceparent);
    return next(request);
  };
  const transport = createGrpcTransport({
    baseUrl: options.baseUrl,
    interceptors: [headers],
    ...(options.ca ? { nodeOptions: { ca: options.ca } } : {}),
    // A dead connection below a silent stream is found by pings. The router cuts off clients that ping
    // more often than every 20 seconds.
    pingIntervalMs: 30_000,
    pingTimeoutMs: 10_000,
    pingIdleConnection: true,
  });
  const health = createClient(Health, transport);
  return {
    completions: createClient(CompletionService, transport),
    async healthy(timeoutMs) {
      const { status } = await health.check({ service: CompletionService.typeName }, { timeoutMs });
      return status === HealthCheckResponse_ServingStatus.SERVING;
    },
  };
}
