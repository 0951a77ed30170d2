import { useCallback, useEffect, useRef, useState } from "react";
import { problemOf } from "./errors/problem";

/** Action is one change at the server, as a component sees it. */
export type Action<A extends unknown[], R> = {
  /** Runs it; gives undefined if it failed, and the reason is in error. Never rejects. */
  run: (...args: A) => Promise<R | undefined>;
  busy: boolean;
  error: unknown;
  clear: () => void;
};

/**
 * useAction runs changes. Unlike a mutation of the query library it keeps neither what was sent nor
 * what came back, so that a secret is gone when its component lets go of it. A second run while one
 * is under way is dropped: a double click changes once.
 */
export function useAction<A extends unknown[], R>(work: (...args: A) => Promise<R>): Action<A, R> {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const running = useRef(false);
  const latest = useRef(work);
  useEffect(() => {
    latest.current = work;
  });
  const run = useCallback(async (...args: A): Promise<R | undefined> => {
    if (running.current) return undefined;
    running.current = true;
    setBusy(true);
    setError(null);
    try {
      return await latest.current(...args);
    } catch (reason) {
      setError(reason);
      return undefined;
    } finally {
      running.current = false;
      setBusy(false);
    }
  }, []);
  const clear = useCallback(() => setError(null), []);
  return { run, busy, error, clear };
}

/**
 * useIdempotencyKey returns how to make a change once. It calls work with a key that stays the same for
 * as long as nobody knows whether the change was made, so that trying again changes nothing twice.
 */
export function useIdempotencyKey(): <R>(work: (idempotencyKey: string) => Promise<R>) => Promise<R> {
  const key = useRef("");
  return useCallback(async (work) => {
    key.current ||= newIdempotencyKey();
    try {
      const result = await work(key.current);
      key.current = "";
      return result;
    } catch (error) {
      if (!problemOf(error).temporary) key.current = "";
      throw error;
    }
  }, []);
}

/** newIdempotencyKey returns a key for a change that is sent once. */
export function newIdempotencyKey(): string {
  // randomUUID is for secure contexts only; a plain http address in a test network is none.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
