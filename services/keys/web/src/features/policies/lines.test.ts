import { describe, expect, test } from "vitest";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { check, errorsOf, linesOf, move, newLine, sameLines } from "./lines";

const lines = linesOf([
  { model: "openai/a", use: CredentialClass.OWN },
  { model: "openai/b", use: CredentialClass.OWN },
  { model: "openai/c", use: CredentialClass.PLATFORM },
]);
const names = (of: typeof lines) => of.map(({ model }) => model.at(-1)).join("");

describe("the lines of a policy", () => {
  test.each([
    [0, 2, "bca"],
    [2, 0, "cab"],
    [1, 1, "abc"],
    [0, 9, "bca"],
    [2, -1, "cab"],
    [7, 0, "abc"],
  ])("moved from %i to %i keep the order of the others", (from, to, order) => {
    expect(names(move(lines, from, to))).toBe(order);
    expect(names(lines)).toBe("abc");
  });

  test("keep the errors that the server put on them, wherever they move", () => {
    const { lines: errors, rest } = errorsOf(
      {
        "spec.groups[0].targets[1].model": "does not match",
        "spec.groups[0].targets[1]": "the same as line 1",
        "spec.groups[0].targets[9]": "no such line",
        name: "is taken",
      },
      lines,
    );
    expect(errors).toEqual(new Map([[lines[1]?.key, "Does not match. The same as line 1."]]));
    expect(rest).toEqual({ "spec.groups[0].targets[9]": "no such line", name: "is taken" });
  });

  test.each([
    ["", "modelMissing"],
    ["  ", "modelMissing"],
    ["gpt-4o", "modelBad"],
    ["OpenAI/gpt-4o", "modelBad"],
    ["openai/", "modelBad"],
    ["openai/gpt 4", "modelBad"],
    [" openai/gpt-4o ", undefined],
    ["compat/meta-llama/Llama-3:70b", undefined],
  ])("are checked as the server does: %j", (model, error) => {
    expect(check(newLine(model))).toBe(error);
  });

  test("are the same if the same would be stored", () => {
    const again = linesOf(lines.map(({ model, use }) => ({ model: ` ${model}`, use })));
    expect(sameLines(lines, again)).toBe(true);
    expect(sameLines(lines, move(lines, 0, 1))).toBe(false);
  });
});
