import { afterEach, describe, expect, it } from "vitest";
import { forget, knownOrganizations, remember } from "./known";

afterEach(() => localStorage.clear());

describe("known organizations", () => {
  it("are remembered by slug and name alone, the last used first", () => {
    remember({ slug: "acme", name: "Acme", token: "secret" } as never);
    remember({ slug: "globex", name: "Globex" });
    remember({ slug: "acme", name: "Acme Corporation" });
    expect(knownOrganizations()).toEqual([
      { slug: "acme", name: "Acme Corporation" },
      { slug: "globex", name: "Globex" },
    ]);
    expect(JSON.stringify({ ...localStorage })).not.toContain("secret");
    forget("acme");
    expect(knownOrganizations()).toEqual([{ slug: "globex", name: "Globex" }]);
  });

  it("are none when somebody else has written there", () => {
    localStorage.setItem("claviger.organizations", '[{"slug":"../evil","name":"x"},7,null]');
    expect(knownOrganizations()).toEqual([]);
    localStorage.setItem("claviger.organizations", "{");
    expect(knownOrganizations()).toEqual([]);
  });
});
