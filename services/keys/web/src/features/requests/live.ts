import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import type { Attempt, DimensionFilterSchema, UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { problemOf } from "@/shared/errors/problem";

/** State says in a word whether new requests arrive by themselves. */
export type State = "connecting" | "live" | "reconnecting" | "polling" | "stopped";

/** Watched is what to watch. */
export type Watched = { filters: MessageInitShape<typeof DimensionFilterSchema>[]; errorsOnly: boolean };

type Options = {
  client: Pick<Client<typeof UsageService>, "watchRequests">;
  watched: Watched;
  /** New attempts, each once. */
  onAttempts: (attempts: Attempt[]) => void;
  /** A watch has begun anew: what was counted before has to be listed now. */
  onFresh: () => void;
  /** retryAt is when it is tried again, in milliseconds. */
  onState: (state: State, retryAt?: number) => void;
  /** For tests: the clock, and chance from 0 to 1. */
  now?: () => number;
  chance?: () => number;
};

const first = 1_000;
const longest = 30_000;
// Signs of life come every 15 seconds.
const silence = 40_000;

/**
 * LiveRequests follows WatchRequests: it goes on with the last token after each break, so that nothing is
 * missed or seen twice, and waits longer after each failure. A token that is not taken any more begins a
 * new watch, and says so, because what lies between has to be listed.
 */
export class LiveRequests {
  readonly #options: Options;
  #token = "";
  #failures = 0;
  #running: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Begins, or goes on where it stopped. */
  start(): void {
    if (this.#running) return;
    clearTimeout(this.#timer);
    void this.#follow();
  }

  /** Stops, and keeps its place. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#running = undefined;
    this.#options.onState("stopped");
  }

  async #follow(): Promise<void> {
    const { client, watched, onAttempts, onFresh, onState } = this.#options;
    const running = new AbortController();
    this.#running = running;
    if (this.#failures === 0) onState("connecting");
    let fresh = this.#token === "";
    let begun = false;
    let quiet: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(quiet);
      // A connection that died without a word would stay open for ever.
      quiet = setTimeout(() => running.abort(), silence);
    };
    try {
      heard();
      const stream = client.watchRequests(
        { resumeToken: this.#token, ...watched },
        { signal: running.signal },
      );
      for await (const { attempts, resumeToken } of stream) {
        if (this.#running !== running) return;
        heard();
        begun = true;
        this.#token = resumeToken;
        this.#failures = 0;
        onState("live");
        if (fresh) onFresh();
        fresh = false;
        if (attempts.length > 0) onAttempts(attempts);
      }
      // The server ends each watch before the access token dies; but one that never began has failed.
      if (!begun) throw new Error("the watch ended before it began");
      this.#again(running, 0);
    } catch (error) {
      this.#failed(running, error);
    } finally {
      clearTimeout(quiet);
    }
  }

  #failed(running: AbortController, error: unknown): void {
    if (this.#running !== running) return;
    const problem = problemOf(error);
    if (problem.code === Code.Unimplemented) {
      this.#running = undefined;
      this.#options.onState("polling");
      return;
    }
    if (problem.reason === "RESUME_TOKEN_INVALID" && this.#token !== "") {
      this.#token = "";
      this.#again(running, 0);
      return;
    }
    this.#failures += 1;
    const most = Math.min(longest, first * 2 ** (this.#failures - 1));
    // Half of it is chance, so that pages do not come back all at once.
    const wait = most / 2 + (most / 2) * (this.#options.chance ?? Math.random)();
    this.#again(running, Math.max(wait, problem.retryAfter * 1000));
  }

  #again(running: AbortController, wait: number): void {
    if (this.#running !== running) return;
    this.#running = undefined;
    if (wait === 0) {
      void this.#follow();
      return;
    }
    this.#options.onState("reconnecting", (this.#options.now ?? Date.now)() + wait);
    this.#timer = setTimeout(() => void this.#follow(), wait);
  }
}
