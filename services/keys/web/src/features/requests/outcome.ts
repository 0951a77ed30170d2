import { Outcome, type UsageEvent } from "@/gen/claviger/events/v1/usage_event_pb";

/**
 * isPending says whether an attempt gave a provider a job whose end is not known yet. What it took comes
 * as a later truth; the job's end always does, even if only as an estimate.
 */
export function isPending(event: UsageEvent | undefined): boolean {
  return (
    event?.operation === "videos" &&
    event.revision === 0 &&
    event.outcome === Outcome.OK &&
    event.tokens === undefined &&
    event.units.length === 0
  );
}

/** outcomeOf is the name in the catalogue of how an attempt ended, and how it is shown. */
export function outcomeOf(event: UsageEvent | undefined): {
  key: "ok" | "error" | "broken" | "canceled" | "notSent" | "routerCrash" | "pending" | "unknown";
  tone: "good" | "warn" | "bad" | "quiet" | "busy";
} {
  if (isPending(event)) return { key: "pending", tone: "busy" };
  switch (event?.outcome) {
    case Outcome.OK:
      return { key: "ok", tone: "good" };
    case Outcome.ERROR:
      return { key: "error", tone: "bad" };
    case Outcome.BROKEN:
      return { key: "broken", tone: "bad" };
    case Outcome.CANCELED:
      return { key: "canceled", tone: "quiet" };
    case Outcome.NOT_SENT:
      return { key: "notSent", tone: "warn" };
    case Outcome.ROUTER_CRASH:
      return { key: "routerCrash", tone: "bad" };
    default:
      return { key: "unknown", tone: "quiet" };
  }
}

/** errorClasses are those that have words of their own. */
export const errorClasses = [
  "invalid_request",
  "too_large",
  "content_refused",
  "unsupported_by_model",
  "auth_invalid",
  "auth_limited",
  "quota_exhausted",
  "rate_limited",
  "overloaded",
  "server_error",
  "timeout",
  "network",
  "model_not_found",
  "credential_error",
] as const;

/** errorClassOf is an error class's name in the catalogue. */
export function errorClassOf(name: string): (typeof errorClasses)[number] | "other" {
  return errorClasses.find((each) => each === name) ?? "other";
}

/** durationOf says microseconds: "840 µs", "141 ms", "1.04 s", "2 min 5 s". */
export function durationOf(micros: bigint | number, locale?: string): string {
  const value = Number(micros);
  const number = (amount: number, digits: number) =>
    new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(amount);
  if (value < 1_000) return `${number(value, 0)} µs`;
  if (value < 10_000) return `${number(value / 1_000, 1)} ms`;
  if (value < 999_500) return `${number(value / 1_000, 0)} ms`;
  if (value < 59_950_000) return `${number(value / 1_000_000, value < 10_000_000 ? 2 : 1)} s`;
  const seconds = Math.round(value / 1_000_000);
  return `${number(Math.floor(seconds / 60), 0)} min ${seconds % 60} s`;
}
