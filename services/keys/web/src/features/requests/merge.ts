import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { UsageEvent } from "@/gen/claviger/events/v1/usage_event_pb";
import type { Attempt } from "@/gen/claviger/metering/v1/usage_pb";

/** Request is what the list shows of one: its attempts in their order. */
export type Request = {
  id: string;
  attempts: Attempt[];
  /** When its last attempt ended, in milliseconds. */
  ended: number;
  /** What was known of it before it was merged came live. */
  live: boolean;
};

/**
 * merge brings what was listed and what came live together: each attempt once, in its latest revision,
 * the attempts of one request together, the newest request first.
 */
export function merge(listed: readonly Attempt[], live: readonly Attempt[]): Request[] {
  const attempts = new Map<string, Attempt>();
  const fresh = new Set<string>();
  const known = new Set<string>();
  const take = (attempt: Attempt) => {
    const event = attempt.event;
    if (!event) return;
    const before = attempts.get(event.attemptId)?.event;
    if (!before || before.revision <= event.revision) attempts.set(event.attemptId, attempt);
  };
  for (const attempt of listed) {
    take(attempt);
    known.add(attempt.event?.requestId ?? "");
  }
  for (const attempt of live) {
    take(attempt);
    fresh.add(attempt.event?.requestId ?? "");
  }
  const requests = new Map<string, Request>();
  for (const attempt of attempts.values()) {
    const event = attempt.event as UsageEvent;
    const request = requests.get(event.requestId) ?? {
      id: event.requestId,
      attempts: [],
      ended: 0,
      live: fresh.has(event.requestId) && !known.has(event.requestId),
    };
    requests.set(event.requestId, request);
    request.attempts.push(attempt);
    request.ended = Math.max(request.ended, event.endedTime ? timestampMs(event.endedTime) : 0);
  }
  const all = [...requests.values()];
  for (const { attempts: own } of all) {
    own.sort((a, b) => (a.event?.attemptNumber ?? 0) - (b.event?.attemptNumber ?? 0));
  }
  return all.sort((a, b) => b.ended - a.ended || (a.id < b.id ? 1 : -1));
}

/** costOf is the sum of known costs, and how many are not known. */
export function costOf(attempts: readonly Attempt[]): { cost: bigint; unknownCost: bigint } {
  let cost = 0n;
  let unknownCost = 0n;
  for (const { costNanoUsd } of attempts) {
    if (costNanoUsd === undefined) unknownCost += 1n;
    else cost += costNanoUsd;
  }
  return { cost, unknownCost };
}
