import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type WatchRequestsRequest,
  type WatchRequestsResponse,
  WatchRequestsResponseSchema,
} from "@/gen/claviger/metering/v1/usage_pb";
import { ErrorInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { LiveRequests, type State } from "./live";

// A server whose next watches are given as functions.
type Watch = (token: string, signal: AbortSignal) => AsyncIterable<WatchRequestsResponse>;

function batch(resumeToken: string, ...ids: string[]) {
  return create(WatchRequestsResponseSchema, {
    resumeToken,
    attempts: ids.map((attemptId) => ({ event: { attemptId } })),
  });
}

const invalidToken = new ConnectError("no", Code.InvalidArgument, undefined, [
  { desc: ErrorInfoSchema, value: { reason: "RESUME_TOKEN_INVALID" } },
]);

function start(watches: Watch[]) {
  const seen: string[] = [];
  const states: State[] = [];
  const tokens: string[] = [];
  let fresh = 0;
  const live = new LiveRequests({
    client: {
      watchRequests: ((request: WatchRequestsRequest, options: { signal: AbortSignal }) => {
        tokens.push(request.resumeToken);
        const watch = watches.shift() ?? silent;
        return watch(request.resumeToken, options.signal);
      }) as never,
    },
    watched: { filters: [], errorsOnly: false },
    onAttempts: (attempts) => seen.push(...attempts.map(({ event }) => event?.attemptId ?? "")),
    onFresh: () => {
      fresh += 1;
    },
    onState: (state) => states.push(state),
    chance: () => 1,
  });
  live.start();
  return { live, seen, states, tokens, fresh: () => fresh };
}

async function* silent(_: string, signal: AbortSignal): AsyncGenerator<WatchRequestsResponse> {
  await new Promise((_resolve, reject) =>
    signal.addEventListener("abort", () => reject(new ConnectError("gone", Code.Canceled))),
  );
  yield batch("never");
}

const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("watching requests", () => {
  test("lists once the watch stands, so that nothing falls between, and goes on with the last token", async () => {
    const { seen, tokens, fresh, states } = start([
      async function* () {
        yield batch("t0");
        yield batch("t1", "a", "b");
      },
      async function* () {
        yield batch("t1");
        yield batch("t2", "c");
        throw new ConnectError("away", Code.Unavailable);
      },
    ]);
    await settle();
    expect(fresh()).toBe(1);
    expect(tokens).toEqual(["", "t1"]);
    expect(states.at(-1)).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(1000);
    expect(tokens).toEqual(["", "t1", "t2"]);
    expect(seen).toEqual(["a", "b", "c"]);
    expect(fresh()).toBe(1);
  });

  test("waits longer after each failure, at most half a minute, and at once again after it was heard", async () => {
    const away: Watch = async function* () {
      yield* [];
      throw new ConnectError("away", Code.Unavailable);
    };
    const { tokens } = start(Array.from({ length: 7 }, () => away));
    for (const [wait, tries] of [
      [1, 2],
      [2, 3],
      [4, 4],
      [8, 5],
      [16, 6],
      [30, 7],
      [30, 8],
    ] as const) {
      await vi.advanceTimersByTimeAsync(wait * 1000 - 1);
      expect(tokens).toHaveLength(tries - 1);
      await vi.advanceTimersByTimeAsync(1);
      expect(tokens).toHaveLength(tries);
    }
  });

  test("begins anew, and lists, when its token is not taken any more", async () => {
    const { tokens, fresh } = start([
      async function* () {
        yield batch("old");
        throw new ConnectError("away", Code.Unavailable);
      },
      async function* () {
        yield* [];
        throw invalidToken;
      },
      async function* (_, signal) {
        yield batch("new");
        yield* silent("", signal);
      },
    ]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(tokens).toEqual(["", "old", ""]);
    expect(fresh()).toBe(2);
  });

  test("falls back to reading the list where the server cannot send", async () => {
    const { states, tokens } = start([
      async function* () {
        yield* [];
        throw new ConnectError("no such method", Code.Unimplemented);
      },
    ]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(states.at(-1)).toBe("polling");
    expect(tokens).toHaveLength(1);
  });

  test("does not run hot when watches end without a word", async () => {
    const { tokens } = start(
      Array.from(
        { length: 50 },
        (): Watch =>
          async function* () {
            yield* [];
          },
      ),
    );
    await vi.advanceTimersByTimeAsync(10_000);
    expect(tokens.length).toBeLessThan(6);
  });

  test("takes a connection that fell silent for dead", async () => {
    const { tokens, states } = start([
      async function* (_, signal) {
        yield batch("t0");
        yield* silent("", signal);
      },
    ]);
    await settle();
    expect(states.at(-1)).toBe("live");
    await vi.advanceTimersByTimeAsync(41_000 + 1_000);
    expect(tokens).toEqual(["", "t0"]);
  });

  test("stops when it is told to, keeps its place, and says nothing more", async () => {
    const { live, tokens, seen } = start([
      async function* (_, signal) {
        yield batch("t1", "a");
        yield* silent("", signal);
      },
    ]);
    await settle();
    live.stop();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(tokens).toEqual([""]);
    live.start();
    await settle();
    expect(tokens).toEqual(["", "t1"]);
    expect(seen).toEqual(["a"]);
    live.stop();
  });
});
