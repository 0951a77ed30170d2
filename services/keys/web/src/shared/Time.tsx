import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Tooltip } from "@mantine/core";
import { useEffect, useState } from "react";
import { absoluteTime, relativeTime, utcTime } from "./format";

/**
 * Time shows how long ago something was, and on hover exactly when: in the reader's zone and
 * in UTC, which is what logs say.
 */
export function Time({ value, fallback = "–" }: { value?: Timestamp | undefined; fallback?: string }) {
  const now = useNow();
  if (!value) return <span>{fallback}</span>;
  const at = timestampMs(value);
  return (
    <Tooltip multiline label={<TimeLabel at={at} />}>
      <time dateTime={new Date(at).toISOString()}>{relativeTime(at, now)}</time>
    </Tooltip>
  );
}

function TimeLabel({ at }: { at: number }) {
  return (
    <>
      {absoluteTime(at)}
      <br />
      {utcTime(at)}
    </>
  );
}

// All times on a page move together, twice a minute.
const listeners = new Set<(now: number) => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    listeners.add(setNow);
    timer ??= setInterval(() => {
      for (const listener of listeners) listener(Date.now());
    }, 30_000);
    return () => {
      listeners.delete(setNow);
      if (listeners.size === 0) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }, []);
  return now;
}
