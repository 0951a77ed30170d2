import i18next from "i18next";
import { describe, expect, test } from "vitest";
import { unitOrder, unitWords } from "./units";

describe("units", () => {
  test.each([
    ["image", 1000n, "1 image"],
    ["image", 2000n, "2 images"],
    ["second", 5000n, "5 seconds"],
    ["megapixel", 1049n, "1.049 megapixels"],
    ["megapixel", 500n, "0.5 megapixels"],
    ["request", 1000n, "1 request"],
    ["credit", 60_000n, "60 credits"],
    ["character", 9_007_199_254_740_993_000n, "9,007,199,254,740,993 characters"],
    ["page", 3000n, "3 page"],
  ])("say %s × %s thousandths as %s", (name, milli, words) => {
    expect(unitWords(i18next.t, { name, milli })).toBe(words);
  });

  test("are seconds of video where a video was asked for", () => {
    expect(unitWords(i18next.t, { name: "second", milli: 5500n }, true)).toBe("5.5 s of video");
    expect(unitWords(i18next.t, { name: "credit", milli: 1000n }, true)).toBe("1 credit");
  });

  test("stand in one order, those that nobody knows last", () => {
    expect(["page", "request", "credit", "second", "image"].sort(unitOrder)).toEqual([
      "image",
      "second",
      "credit",
      "request",
      "page",
    ]);
  });
});
