import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { SpanSchema } from "@/gen/claviger/metering/v1/trace_pb";
import { waterfall } from "./steps";

function span(spanId: string, parentSpanId: string, startMicros: number, durationMicros: number) {
  return create(SpanSchema, {
    spanId,
    parentSpanId,
    name: spanId,
    startTime: { seconds: 1_795_000_000n, nanos: startMicros * 1000 },
    durationMicros: BigInt(durationMicros),
  });
}

test("draws each step under the one it belongs to, by start", () => {
  const { steps, duration } = waterfall([
    span("late", "root", 50, 50),
    span("root", "the caller's", 0, 100),
    span("inner", "early", 20, 10),
    span("early", "root", 10, 30),
  ]);
  expect(steps.map(({ span: { name }, depth }) => [name, depth])).toEqual([
    ["root", 0],
    ["early", 1],
    ["inner", 2],
    ["late", 1],
  ]);
  expect(duration).toBe(100);
  expect(steps.map(({ left, width }) => [left, width])).toEqual([
    [0, 100],
    [10, 30],
    [20, 10],
    [50, 50],
  ]);
});

test("leaves no step out, not even those that are each other's parents", () => {
  const { steps } = waterfall([span("a", "b", 0, 10), span("b", "a", 5, 10), span("c", "c", 7, 1)]);
  expect(steps.map(({ span: { name } }) => name).sort()).toEqual(["a", "b", "c"]);
});

test("of nothing is nothing", () => {
  expect(waterfall([])).toEqual({ steps: [], duration: 0 });
});
