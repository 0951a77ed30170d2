import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { PolicyProblemSchema } from "@/gen/claviger/keys/v1/policy_pb";
import { check, different, fromCheck, fromFields, sentOf, whole } from "./problems";
import { newGroup, newLine, ruleOf } from "./rule";

const sent = [
  { group: 1, lines: [11, 12] },
  { group: 2, lines: [21] },
];

describe("what is wrong with a rule", () => {
  test("is put on the line, group or field that it belongs to, without the number that it had", () => {
    const { problems, rest } = fromFields(
      {
        "spec.groups[0].targets[1].model": "line 2: there is no such model",
        "spec.groups[1].targets[0].timeouts.first_byte": "must be less",
        "spec.groups[1].when.tags[0].key": "is empty",
        "spec.hedge.after": "too long",
        "spec.groups[7].targets[0]": "is nowhere",
        name: "is taken",
      },
      sent,
    );
    expect(problems).toEqual([
      { line: 12, field: "model", what: "There is no such model.", warning: false },
      { line: 21, field: "timeouts.first_byte", what: "Must be less.", warning: false },
      { group: 2, field: "when.tags[0].key", what: "Is empty.", warning: false },
      { field: "hedge.after", what: "Too long.", warning: false },
    ]);
    expect(rest).toEqual({ "spec.groups[7].targets[0]": "is nowhere", name: "is taken" });
  });

  test("is found by its number where the path says nothing, and keeps whether it is a warning", () => {
    const found = [
      create(PolicyProblemSchema, { line: 3, field: "", description: "no price", warning: true }),
      create(PolicyProblemSchema, { line: 1, field: "groups[0].targets[0].use", description: "forbidden" }),
      create(PolicyProblemSchema, { line: 0, field: "", description: "too many lines" }),
    ];
    expect(fromCheck(found, sent)).toEqual([
      { line: 21, field: "", what: "No price.", warning: true },
      { line: 11, field: "use", what: "Forbidden.", warning: false },
      { line: undefined, field: "", what: "Too many lines.", warning: false },
    ]);
  });

  test("is said once, though saving and checking both found it", () => {
    const one = { line: 11, field: "model", what: "Unknown.", warning: false };
    expect(
      different(
        [one],
        [
          { ...one, field: "" },
          { ...one, line: 12 },
        ],
      ),
    ).toEqual([one, { ...one, line: 12 }]);
  });

  test("is not asked of lines that nobody has written yet, and the others are found all the same", () => {
    const empty = newLine();
    const written = newLine("openai/gpt-4o");
    const rule = { ...ruleOf(undefined), groups: [newGroup([newLine("gpt")]), newGroup([empty, written])] };
    expect(sentOf(whole(rule))).toEqual([{ group: rule.groups[1]?.key, lines: [written.key] }]);
  });

  test.each([
    ["", "modelMissing"],
    ["  ", "modelMissing"],
    ["gpt-4o", "modelBad"],
    ["OpenAI/gpt-4o", "modelBad"],
    ["openai/", "modelBad"],
    ["openai/gpt 4", "modelBad"],
    ["policy/a/b", "modelBad"],
    ["policy/careful", undefined],
    [" openai/gpt-4o ", undefined],
    ["compat/meta-llama/Llama-3:70b", undefined],
  ])("is a model that is not written as the server wants it: %j", (model, wrong) => {
    expect(check(model)).toBe(wrong);
  });
});
