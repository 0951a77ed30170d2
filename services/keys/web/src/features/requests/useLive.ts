import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type Attempt, UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { useClient } from "@/session/context";
import { LiveRequests, type State, type Watched } from "./live";

/** Live is what came since the page was opened, and how it comes. */
export type Live = {
  attempts: readonly Attempt[];
  state: State | "paused";
  /** When it is tried again, in milliseconds. */
  retryAt: number | undefined;
  pause: () => void;
  resume: () => void;
};

// A page that is left open in front of much traffic begins its list anew from here.
const most = 2_000;

/**
 * useLive follows new attempts while the page is mounted and visible. onFresh is called when everything
 * before has to be listed, and only what was listed since then is without gaps.
 */
export function useLive(watched: Watched, onFresh: () => Promise<unknown>): Live {
  const client = useClient(UsageService);
  const [attempts, setAttempts] = useState<readonly Attempt[]>([]);
  const [state, setState] = useState<State>("connecting");
  const [retryAt, setRetryAt] = useState<number>();
  const [paused, setPaused] = useState(false);
  const fresh = useRef(onFresh);
  useEffect(() => {
    fresh.current = onFresh;
  });
  // The text is what makes two filters the same, not the object.
  const asked = JSON.stringify(watched);
  const live = useMemo(
    () =>
      new LiveRequests({
        client,
        watched: JSON.parse(asked) as Watched,
        onAttempts: (more) => setAttempts((before) => [...before, ...more]),
        onFresh: () => void fresh.current(),
        onState: (next, at) => {
          setState(next);
          setRetryAt(at);
        },
      }),
    [client, asked],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: another watch has other attempts
  useEffect(() => setAttempts([]), [live]);
  useEffect(() => {
    if (paused) return;
    const follow = () => (document.visibilityState === "hidden" ? live.stop() : live.start());
    follow();
    document.addEventListener("visibilitychange", follow);
    return () => {
      document.removeEventListener("visibilitychange", follow);
      live.stop();
    };
  }, [live, paused]);

  // What is listed again need not be kept twice; until then it is, so that no row goes missing.
  useEffect(() => {
    if (attempts.length <= most) return;
    const old = new Set(attempts);
    void fresh.current().then(() => setAttempts((now) => now.filter((attempt) => !old.has(attempt))));
  }, [attempts]);

  return {
    attempts,
    state: paused ? "paused" : state,
    retryAt,
    pause: useCallback(() => setPaused(true), []),
    resume: useCallback(() => {
      setPaused(false);
      live.stop();
      live.start();
    }, [live]),
  };
}
