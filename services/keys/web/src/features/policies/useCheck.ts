import { ConnectError } from "@connectrpc/connect";
import { useEffect, useState } from "react";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient } from "@/session/context";
import { problemOf } from "@/shared/errors/problem";
import { fromCheck, fromFields, type Problem, sentOf, whole } from "./problems";
import { type Rule, specOf } from "./rule";

// How long nobody types before the server is asked.
const pause = 400;
const none: readonly Problem[] = [];

/**
 * useCheck asks the server what is wrong with a rule while it is being written. Lines that are not written
 * yet are left out. Should the server not answer, nothing is said: saving checks again.
 */
export function useCheck(name: string, rule: Rule): readonly Problem[] {
  const client = useClient(PolicyService);
  const [problems, setProblems] = useState(none);
  useEffect(() => {
    const asked = whole(rule);
    if (asked.groups.length === 0) {
      setProblems(none);
      return;
    }
    const sent = sentOf(asked);
    const stop = new AbortController();
    const ask = async () => {
      try {
        const answer = await client.checkPolicy({ name, spec: specOf(asked) }, { signal: stop.signal });
        setProblems(fromCheck(answer.problems, sent));
      } catch (error) {
        if (stop.signal.aborted) return;
        setProblems(fromFields(problemOf(ConnectError.from(error)).fields, sent).problems);
      }
    };
    const timer = setTimeout(() => void ask(), pause);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [client, name, rule]);
  return problems;
}
