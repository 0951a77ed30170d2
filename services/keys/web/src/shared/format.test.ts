import { describe, expect, it } from "vitest";
import { formatCost, formatShare, relativeTime, utcTime } from "./format";

describe("formatCost", () => {
  it.each([
    [0n, "$0.00"],
    [1n, "$0.000000001"],
    [123_456n, "$0.000123"],
    [12_345_678n, "$0.0123"],
    [1_234_567_890n, "$1.23"],
    [9_007_199_254_740_993_000_000_000n, "$9,007,199,254,740,993.00"],
  ])("says %s nano-dollars as %s, without losing a digit", (nano, text) => {
    expect(formatCost(nano, "en-US")).toBe(text);
  });
});

describe("times", () => {
  const at = Date.UTC(2026, 1, 3, 4, 5, 6);
  it.each([
    [10_000, "now"],
    [61_000, "1 minute ago"],
    [7_200_000, "2 hours ago"],
    [86_400_000, "yesterday"],
  ])("are told after %s ms as %s", (later, words) => {
    expect(relativeTime(at, at + later, "en")).toBe(words);
  });

  it("are exact in UTC", () => {
    expect(utcTime(at)).toBe("2026-02-03 04:05:06 UTC");
  });
});

describe("formatShare", () => {
  it("keeps small shares visible, and divides by nothing", () => {
    expect(formatShare(1n, 200n, "en")).toBe("0.5%");
    expect(formatShare(1n, 2n, "en")).toBe("50%");
    expect(formatShare(0n, 0n, "en")).toBe("0%");
  });
});
