import { describe, expect, it } from "vitest";
import { providerName, providerSlugs } from "./names";
import { matching, providers } from "./providers";

describe("providers", () => {
  it("have the same names everywhere", () => {
    expect(providers.map(({ slug }) => slug).sort()).toEqual([...providerSlugs].sort());
    for (const { slug, name } of providers) expect(providerName(slug)).toBe(name);
    expect(providers).toHaveLength(15);
  });

  it("are found by name, by slug and by the models they have", () => {
    const found = (text: string) => matching(text).map(({ slug }) => slug);
    expect(found("")).toHaveLength(15);
    expect(found("grok")).toEqual(["xai"]);
    expect(found("AWS bed")).toEqual(["bedrock"]);
    expect(found("kimi")).toEqual(["moonshot"]);
    expect(found("google")).toEqual(["google-ai-studio", "vertex"]);
    expect(found("no such thing")).toEqual([]);
  });
});
