import { describe, expect, test } from "vitest";
import { csvOf, usageCsv } from "./csv";
import { nothing } from "./sums";

describe("a CSV file", () => {
  test.each([
    ['=HYPERLINK("http://evil.example","x")', `"'=HYPERLINK(""http://evil.example"",""x"")"`],
    ["+1-2", `"'+1-2"`],
    ["-cmd", `"'-cmd"`],
    ["@SUM(A1)", `"'@SUM(A1)"`],
    ["  =1+1", `"'  =1+1"`],
    ["\t=1", `"'\t=1"`],
    ["|calc", `"'|calc"`],
    ["plain", "plain"],
    ["a,b", '"a,b"'],
    ['say "a"', '"say ""a"""'],
    ["two\nlines", '"two\nlines"'],
    ["0.0000291", "0.0000291"],
  ])("makes no formula of %j", (text, cell) => {
    expect(csvOf([[text]])).toBe(`${cell}\r\n`);
  });

  test("has all digits of money, and leaves unknown cost empty", () => {
    const one = { ...nothing(), requests: 3n, attempts: 4n, cost: 12_345_678_901_234_567_891n };
    const unknown = { ...nothing(), attempts: 1n, unknownCost: 1n };
    const [, first, second] = usageCsv(
      "model",
      [
        { id: "openai/gpt-4o", own: one, platform: nothing(), all: one },
        { id: "openai/new", own: unknown, platform: nothing(), all: unknown },
      ],
      (id) => id,
    ).split("\r\n");
    expect(first).toBe(
      "openai/gpt-4o,openai/gpt-4o,3,4,0,0,0,0,12345678901.234567891,0,12345678901.234567891,0,0,0,0,0,0,0,0,0,0,0",
    );
    expect(second).toBe("openai/new,openai/new,0,1,0,0,0,0,,0,,1,0,0,0,0,0,0,0,0,0,0");
  });

  test("has what is counted besides tokens, and what providers say, under names that stay", () => {
    const film = {
      ...nothing(),
      cost: 3_000_000_000n,
      providerCost: 2_000_000_000n,
      reportedCost: 2_500_000_000n,
      units: new Map([
        ["second", 5500n],
        ["credit", 60_000n],
      ]),
    };
    const [header, row] = usageCsv(
      "model",
      [{ id: "m", own: film, platform: nothing(), all: film }],
      (id) => id,
    )
      .split("\r\n")
      .map((line) => line.split(","));
    const facts = Object.fromEntries((header ?? []).map((name, i) => [name, row?.[i]]));
    expect(facts).toMatchObject({
      provider_cost_usd: "2",
      reported_cost_usd: "2.5",
      images: "0",
      seconds: "5.5",
      credits: "60",
    });
  });
});
