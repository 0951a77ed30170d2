import { setTimeout } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** An error of the router, taken apart. */
export interface Failure {
  code: Code;
  /** A stable word, such as API_KEY_INVALID. Empty: the error is not the router's, but of the way to it. */
  reason: string;
  message: string;
  /** "caller", "limit", "provider" or "claviger". */
  blame: string;
  /** What to do next. */
  hint: string;
  /** How long the router or the provider asks to wait. */
  retryAfterMs: number;
}

export function explain(error: unknown): Failure {
  const e = ConnectError.from(error);
  const info = e.findDetails(ErrorInfoSchema)[0];
  const delay = e.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const hint = info?.metadata.hint ?? "";
  return {
    code: e.code,
    reason: info?.reason ?? "",
    // The message ends with the hint, for clients that read no details.
    message: hint && e.rawMessage.endsWith(`: ${hint}`) ? e.rawMessage.slice(0, -hint.length - 2) : e.rawMessage,
    blame: info?.metadata.blame ?? "",
    hint,
    retryAfterMs: delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : 0,
  };
}

// The reasons which say that no provider has begun an answer. A completion has no idempotency key: each
// call is thought out anew and costs anew. So the code UNAVAILABLE is not enough to call again: an
// answer that broke off (ANSWER_BROKEN_OFF), a connection that was lost (no reason at all) and a
// provider that fell silent have it too, and may be paid already.
const unpaid = new Set([
  // before any provider was called
  "ROUTER_OVERLOADED",
  "ROUTER_NOT_READY",
  "USAGE_SPOOL_FULL",
  "USAGE_SPOOL_BROKEN",
  "ALL_COOLING_DOWN",
  // the provider turned the call away
  "PROVIDER_OVERLOADED",
  "PROVIDER_RATE_LIMITED",
]);

/** Nobody listens where the router should be: it restarts, and nothing has been sent. */
function isRefused(error: unknown): boolean {
  const { cause } = ConnectError.from(error);
  return cause instanceof Error && "code" in cause && cause.code === "ECONNREFUSED";
}

const maxCalls = 4;

/** The time for everything: calls, and waiting between them. */
export class Budget {
  readonly #end: number;
  constructor(ms: number) {
    this.#end = performance.now() + ms;
  }
  get leftMs(): number {
    return Math.max(1, Math.floor(this.#end - performance.now())); // gRPC has whole milliseconds
  }
}

/** Calls again where nothing can have been paid, within the budget. */
export async function retry<T>(budget: Budget, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  let backoff = 100;
  for (let n = 1; ; n++) {
    try {
      return await call();
    } catch (error) {
      const failure = explain(error);
      // The hint is a minimum. Without jitter all clients would come back in the same moment.
      const wait = failure.retryAfterMs + (backoff * (1 + Math.random())) / 2;
      const safe = unpaid.has(failure.reason) || isRefused(error);
      // Waiting longer than the budget would only turn this error into one that says less.
      if (!safe || n === maxCalls || wait >= budget.leftMs || signal.aborted) throw error;
      await setTimeout(wait, undefined, { signal });
      backoff *= 2;
    }
  }
}
