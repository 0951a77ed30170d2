import { create, equals } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { PolicySpecSchema, Strategy } from "@/gen/claviger/keys/v1/policy_pb";
import {
  changeGroup,
  linesOf,
  moveGroup,
  moveLine,
  newGroup,
  newLine,
  placeLine,
  type Rule,
  removeLine,
  ruleOf,
  sameRule,
  specOf,
} from "./rule";

const { OWN, PLATFORM } = CredentialClass;

// Everything that a rule can say, once.
const full = create(PolicySpecSchema, {
  maxAttempts: 6,
  hedge: { after: durationFromMs(1500), maxPercent: 10 },
  groups: [
    {
      strategy: Strategy.WEIGHTED,
      when: {
        tags: [{ key: "team", values: ["search", "support"] }, { key: "beta" }],
        models: ["openai/*"],
        minInputTokens: 10n,
        maxInputTokens: 2000n,
        apiKeyIds: ["key_1"],
        groupIds: ["grp_1"],
      },
      targets: [
        {
          model: "openai/gpt-4o",
          use: OWN,
          weight: 0,
          retries: 0,
          backoff: durationFromMs(125),
          moveOn: ["timeout", "rate_limited"],
          timeouts: { firstByte: durationFromMs(2500), total: durationFromMs(60_000) },
          overrides: { temperature: 0, topP: 0.5, maxOutputTokens: 512n, reasoningEffort: "low" },
        },
        { model: "openai/gpt-4o", credentialId: "cred_1", weight: 3 },
      ],
    },
    {
      strategy: Strategy.STICKY,
      stickyBy: "tag:customer",
      targets: [
        { model: "anthropic/claude-sonnet-4-5", use: PLATFORM },
        { model: "policy/careful", weight: 2 },
      ],
    },
  ],
});

function rule(...groups: string[]): Rule {
  const made = groups.map((names) => newGroup([...names].map((name) => newLine(`openai/${name}`))));
  return { ...ruleOf(undefined), groups: made };
}

const shape = (of: Rule) =>
  of.groups.map(({ lines }) => lines.map(({ model }) => model.at(-1)).join("")).join("|");
const key = (of: Rule, name: string) => linesOf(of).find(({ model }) => model.endsWith(name))?.key ?? 0;

describe("a rule", () => {
  test("comes back from the editor as the server gave it", () => {
    expect(specOf(ruleOf(full))).toEqual(full);
    expect(equals(PolicySpecSchema, specOf(ruleOf(full)), full)).toBe(true);
  });

  test("is the same if the same would be stored", () => {
    const once = ruleOf(full);
    expect(sameRule(once, ruleOf(full))).toBe(true);
    const [first] = linesOf(once);
    expect(sameRule(once, moveLine(once, first?.key ?? 0, 1))).toBe(false);
    const spaced = { ...once, groups: once.groups.map((group) => ({ ...group })) };
    expect(sameRule(once, spaced)).toBe(true);
  });

  test("says nothing of weights where nothing is drawn, and nothing but the name of another policy", () => {
    const before = ruleOf(full);
    const plain = changeGroup(before, before.groups[0]?.key ?? 0, { strategy: Strategy.FALLBACK });
    expect(specOf(plain).groups[0]?.targets.map(({ weight }) => weight)).toEqual([undefined, undefined]);
    const [line] = linesOf(before);
    const nested: Rule = {
      ...before,
      groups: [newGroup([{ ...(line ?? newLine()), model: " policy/careful " }])],
    };
    expect(specOf(nested).groups[0]?.targets).toEqual([
      create(PolicySpecSchema, { groups: [{ targets: [{ model: "policy/careful" }] }] }).groups[0]
        ?.targets[0],
    ]);
  });

  test.each([
    ["a", 1, "ba|cd"],
    ["b", 1, "a|bcd"],
    ["b", -1, "ba|cd"],
    ["c", -1, "abc|d"],
    ["a", -1, "ab|cd"],
    ["d", 1, "ab|cd"],
  ] as const)("has lines that move from group to group: %s by %i", (name, by, after) => {
    const before = rule("ab", "cd");
    expect(shape(moveLine(before, key(before, name), by))).toBe(after);
    expect(shape(before)).toBe("ab|cd");
  });

  test("keeps the order of all others when a line is placed, and the line when its group is full", () => {
    const before = rule("abc", "d");
    const [first, second] = before.groups;
    expect(shape(placeLine(before, key(before, "b"), second?.key ?? 0, 9))).toBe("ac|db");
    expect(shape(placeLine(before, key(before, "c"), first?.key ?? 0, -1))).toBe("cab|d");
    const full = rule("a".repeat(32), "z");
    expect(placeLine(full, key(full, "z"), full.groups[0]?.key ?? 0, 0)).toBe(full);
  });

  test("has groups that move, and that stay when their last line goes", () => {
    const before = rule("a", "b", "c");
    const last = before.groups[2]?.key ?? 0;
    expect(shape(moveGroup(before, last, -1))).toBe("a|c|b");
    expect(moveGroup(before, last, 1)).toBe(before);
    expect(shape(removeLine(before, key(before, "b")))).toBe("a||c");
  });
});
