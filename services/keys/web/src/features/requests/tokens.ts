import {
  type TokenCounts,
  type UnitCount,
  type UsageEvent,
  UsageSource,
} from "@/gen/claviger/events/v1/usage_event_pb";
import type { Attempt } from "@/gen/claviger/metering/v1/usage_pb";
import { unitOrder } from "@/shared/units";

/** isEstimate says whether an attempt's tokens are not the provider's own final count. */
export function isEstimate({ event }: Attempt): boolean {
  return event?.usageSource === UsageSource.ESTIMATED || event?.usageSource === UsageSource.PROVIDER_PARTIAL;
}

/** sourceOf is a source's name in the catalogue. */
export function sourceOf(source: UsageSource): "final" | "partial" | "estimated" | "none" | "unknown" {
  switch (source) {
    case UsageSource.PROVIDER_FINAL:
      return "final";
    case UsageSource.PROVIDER_PARTIAL:
      return "partial";
    case UsageSource.ESTIMATED:
      return "estimated";
    case UsageSource.NONE:
      return "none";
    default:
      return "unknown";
  }
}

/** unitsOf are what was counted besides tokens. */
export function unitsOf(event: UsageEvent): UnitCount[] {
  return event.units.filter(({ milli }) => milli > 0n).sort((a, b) => unitOrder(a.name, b.name));
}

/** countsTokens says whether an attempt took tokens; media is often billed by other units alone. */
export function countsTokens({ tokens }: UsageEvent): boolean {
  return tokens !== undefined && tokens.inputTotal + tokens.outputTotal > 0n;
}

/** TokenLine is a class of tokens; a part is counted in a line above it already. */
export type TokenLine = {
  name:
    | "input"
    | "uncached"
    | "cacheRead"
    | "cacheWrite"
    | "output"
    | "reasoning"
    | "audioIn"
    | "audioOut"
    | "imageIn"
    | "imageOut";
  count: bigint;
  part: boolean;
};

/** tokenLines are the classes of tokens that there are any of; input and output always. */
export function tokenLines(tokens: TokenCounts): TokenLine[] {
  const writes = tokens.cacheWrite5m + tokens.cacheWrite30m + tokens.cacheWrite1h + tokens.cacheWrite12h;
  const cached = tokens.cacheRead + writes > 0n;
  const lines: TokenLine[] = [
    { name: "input", count: tokens.inputTotal, part: false },
    { name: "uncached", count: cached ? tokens.inputUncached : 0n, part: true },
    { name: "cacheRead", count: tokens.cacheRead, part: true },
    { name: "cacheWrite", count: writes, part: true },
    { name: "audioIn", count: tokens.audioIn, part: true },
    { name: "imageIn", count: tokens.imageIn, part: true },
    { name: "output", count: tokens.outputTotal, part: false },
    { name: "reasoning", count: tokens.reasoning, part: true },
    { name: "audioOut", count: tokens.audioOut, part: true },
    { name: "imageOut", count: tokens.imageOut, part: true },
  ];
  return lines.filter(({ count, part }) => !part || count > 0n);
}
