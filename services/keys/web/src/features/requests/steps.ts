import type { Span } from "@/gen/claviger/metering/v1/trace_pb";

/** Step is a span with its place in the waterfall. Times are in microseconds from the trace's begin. */
export type Step = {
  span: Span;
  depth: number;
  start: number;
  duration: number;
  /** Place and width of its bar, in percent of the whole. */
  left: number;
  width: number;
};

/** Waterfall is a trace as it is drawn: each step under the one it belongs to, by start. */
export type Waterfall = { steps: Step[]; duration: number };

/** waterfall orders spans as a tree. A span whose parent is not there is a root; nothing is left out. */
export function waterfall(spans: readonly Span[]): Waterfall {
  const begins = new Map(spans.map((span) => [span.spanId, startOf(span)]));
  const begin = Math.min(...begins.values());
  const end = Math.max(...spans.map((span) => startOf(span) + Number(span.durationMicros)));
  const duration = spans.length > 0 ? Math.max(1, end - begin) : 0;

  const children = new Map<string, Span[]>();
  for (const span of spans) {
    const under = begins.has(span.parentSpanId) && span.parentSpanId !== span.spanId ? span.parentSpanId : "";
    children.set(under, [...(children.get(under) ?? []), span]);
  }
  for (const siblings of children.values()) siblings.sort((a, b) => startOf(a) - startOf(b));

  const steps: Step[] = [];
  const placed = new Set<Span>();
  const place = (span: Span, depth: number) => {
    if (placed.has(span)) return;
    placed.add(span);
    const start = startOf(span) - begin;
    const length = Number(span.durationMicros);
    steps.push({
      span,
      depth,
      start,
      duration: length,
      left: (start / duration) * 100,
      width: (length / duration) * 100,
    });
    for (const child of children.get(span.spanId) ?? []) place(child, depth + 1);
  };
  for (const root of children.get("") ?? []) place(root, 0);
  // Spans that are each other's parents have no root.
  for (const span of spans) place(span, 0);
  return { steps, duration };
}

// Microseconds since 1970 are exact in a float until the year 2255.
function startOf(span: Span): number {
  return span.startTime ? Number(span.startTime.seconds) * 1e6 + Math.floor(span.startTime.nanos / 1e3) : 0;
}
