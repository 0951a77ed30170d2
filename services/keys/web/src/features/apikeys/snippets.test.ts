import { expect, test } from "vitest";
import { expiryOn } from "@/shared/expiry";
import { placeOf, snippets } from "./snippets";

test("routers are looked for where the page came from, and gRPC one port above it or by TLS", () => {
  expect(placeOf("http://127.0.0.1:8080")).toEqual({
    baseUrl: "http://127.0.0.1:8080/v1",
    grpc: "127.0.0.1:8081",
  });
  expect(placeOf("https://llm.acme.example")).toEqual({
    baseUrl: "https://llm.acme.example/v1",
    grpc: "llm.acme.example:443",
  });
});

test.each(snippets.map((snippet) => [snippet.name, snippet]))(
  "the lines for %s name the model, the address and the variable that holds the key",
  (_, { code, id }) => {
    const text = code({
      baseUrl: "https://llm.acme.example/v1",
      grpc: "llm.acme.example:443",
      model: "policy/main",
    });
    expect(text).toContain("policy/main");
    expect(text).toContain("CLAVIGER_API_KEY");
    expect(text).toContain(id.startsWith("grpc") ? "llm.acme.example:443" : "https://llm.acme.example/v1");
    expect(text).not.toContain("insecure");
    expect(text).not.toContain("-plaintext");
  },
);

test("a name with quotes stays a text in every language", () => {
  const model = `policy/it's "one"`;
  const curl = snippets.find(({ id }) => id === "curl")?.code({ baseUrl: "http://a", grpc: "", model });
  expect(curl).toContain(String.raw`policy/it'\''s \"one\"`);
  const python = snippets.find(({ id }) => id === "python")?.code({ baseUrl: "http://a", grpc: "", model });
  expect(python).toContain(String.raw`model="policy/it's \"one\""`);
});

test("a day is one that exists and is not over", () => {
  const now = new Date(2026, 10, 22, 12).getTime();
  expect(expiryOn("2026-11-22", now)?.getHours()).toBe(23);
  expect(expiryOn("2026-11-21", now)).toBeUndefined();
  expect(expiryOn("2026-02-30", now)).toBeUndefined();
  expect(expiryOn("soon", now)).toBeUndefined();
});
