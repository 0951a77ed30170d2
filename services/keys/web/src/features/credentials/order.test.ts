import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { CredentialSchema } from "@/gen/claviger/keys/v1/credential_pb";
import { inOrder, moved } from "./order";

const credential = (id: string, priority: number, provider = "openai") =>
  create(CredentialSchema, { id, priority, provider });

describe("moved", () => {
  const order = (all: ReturnType<typeof credential>[], id: string, by: -1 | 1) => {
    const changes = new Map(moved(all, id, by).map(({ credential: { id }, priority }) => [id, priority]));
    const after = all.map((each) => ({ ...each, priority: changes.get(each.id) ?? each.priority }));
    return { ids: inOrder(after).map(({ id }) => id), changes: changes.size };
  };

  it("swaps two that have different numbers, and touches no others", () => {
    const all = [credential("a", 1), credential("b", 5), credential("c", 9)];
    expect(order(all, "c", -1)).toEqual({ ids: ["a", "c", "b"], changes: 2 });
  });

  it("numbers all anew where numbers are the same", () => {
    const all = [credential("a", 0), credential("b", 0), credential("c", 0)];
    expect(order(all, "a", 1).ids).toEqual(["b", "a", "c"]);
    expect(order(all, "c", -1).ids).toEqual(["a", "c", "b"]);
  });

  it("moves nothing beyond the ends, nor among other providers", () => {
    const all = [credential("a", 0), credential("x", 1, "anthropic")];
    expect(moved(all, "a", -1)).toEqual([]);
    expect(moved(all, "a", 1)).toEqual([]);
    expect(moved(all, "gone", 1)).toEqual([]);
  });
});
