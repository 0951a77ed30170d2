import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { AttemptSchema } from "@/gen/claviger/metering/v1/usage_pb";
import { costOf, merge } from "./merge";

function attempt(
  request: string,
  number: number,
  ended: number,
  more: { revision?: number; cost?: bigint } = {},
) {
  return create(AttemptSchema, {
    event: {
      attemptId: `att_${request}_${number}`,
      requestId: `req_${request}`,
      attemptNumber: number,
      revision: more.revision ?? 0,
      endedTime: timestampFromMs(ended),
    },
    costNanoUsd: more.cost,
  });
}

describe("merging what is listed and what comes live", () => {
  test("shows each attempt once, however often it came", () => {
    const requests = merge(
      [attempt("a", 1, 1000), attempt("b", 1, 2000)],
      [attempt("b", 1, 2000), attempt("c", 1, 3000), attempt("c", 1, 3000)],
    );
    expect(requests.map(({ id }) => id)).toEqual(["req_c", "req_b", "req_a"]);
    expect(requests.map(({ attempts }) => attempts.length)).toEqual([1, 1, 1]);
  });

  test("marks as new only what was not listed", () => {
    const requests = merge([attempt("a", 1, 1000)], [attempt("a", 1, 1000), attempt("b", 1, 2000)]);
    expect(requests.filter(({ live }) => live).map(({ id }) => id)).toEqual(["req_b"]);
  });

  test("brings the attempts of a request together in their order, across pages and the stream", () => {
    const [request] = merge([attempt("a", 2, 2000)], [attempt("a", 3, 3000), attempt("a", 1, 1000)]);
    expect(request?.attempts.map(({ event }) => event?.attemptNumber)).toEqual([1, 2, 3]);
    expect(request?.ended).toBe(3000);
  });

  test("takes a later truth for an attempt, whichever came first", () => {
    const early = attempt("a", 1, 1000, { cost: 1n });
    const late = attempt("a", 1, 1000, { revision: 1, cost: 2n });
    for (const requests of [merge([early], [late]), merge([late], [early]), merge([], [late, early])]) {
      expect(requests).toHaveLength(1);
      expect(requests[0]?.attempts.map(({ costNanoUsd }) => costNanoUsd)).toEqual([2n]);
    }
  });

  test("moves a request to where its later truth ends, and does not call it new", () => {
    const requests = merge(
      [attempt("b", 1, 2000), attempt("a", 1, 1000)],
      [attempt("a", 1, 9000, { revision: 1 })],
    );
    expect(requests.map(({ id, ended, live }) => [id, ended, live])).toEqual([
      ["req_a", 9000, false],
      ["req_b", 2000, false],
    ]);
  });

  test("adds up what is known, and counts what is not", () => {
    const attempts = [attempt("a", 1, 1, { cost: 5n }), attempt("a", 2, 2)];
    expect(costOf(attempts)).toEqual({ cost: 5n, unknownCost: 1n });
  });
});
