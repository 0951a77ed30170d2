import { describe, expect, test } from "vitest";
import { decimalUsd, exactCost, share } from "./money";

describe("money", () => {
  test("keeps every digit, also those that a float would lose", () => {
    expect(decimalUsd(9_007_199_254_740_993_123_456_789n)).toBe("9007199254740993.123456789");
    expect(exactCost(9_007_199_254_740_993_123_456_789n, "en")).toBe("$9,007,199,254,740,993.123456789");
  });

  test.each([
    [0n, "0", "$0.00"],
    [1n, "0.000000001", "$0.000000001"],
    [29_100n, "0.0000291", "$0.0000291"],
    [500_000_000n, "0.5", "$0.50"],
    [12_000_000_000n, "12", "$12.00"],
    [-500_000_000n, "-0.5", "-$0.50"],
  ])("says %s nano-dollars as %s and %s", (nano, decimal, exact) => {
    expect(decimalUsd(nano)).toBe(decimal);
    expect(exactCost(nano, "en")).toBe(exact);
  });

  test.each([
    [0n, 0n, "0%"],
    [0n, 5n, "0%"],
    [5n, 5n, "100%"],
    [1n, 3n, "33.3%"],
    [1n, 1_000_000n, "<0.1%"],
    [999_999n, 1_000_000n, ">99.9%"],
  ])("says %s of %s as %s, and rounds nothing away", (part, whole, words) => {
    expect(share(part, whole, "en")).toBe(words);
  });
});
