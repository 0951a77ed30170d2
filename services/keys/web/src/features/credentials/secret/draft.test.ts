import { describe, expect, it } from "vitest";
import { checkAccount, checkAws, checkAzure, checkLocation, endOf, readJson } from "./draft";

describe("JSON that was pasted", () => {
  it("is taken apart in the exact forms of the documentation", () => {
    const line = {
      model_slug: "openai/gpt-4o",
      endpoint_url: "https://acme.openai.azure.com",
      api_key: "k",
      model_id: "gpt-4o",
    };
    expect(readJson(JSON.stringify([line, line]), "azure")).toEqual({ lines: [line, line], mistakes: {} });
    const aws = { accessKeyId: "AKIA", secretAccessKey: "s", region: "us-east-1" };
    expect(readJson(JSON.stringify(aws, null, 2), "aws")).toEqual({ lines: [aws], mistakes: {} });
    // As text inside text, as a configuration file would hold it.
    expect(readJson(JSON.stringify(JSON.stringify(aws)), "aws").lines).toEqual([aws]);
  });

  it("is refused by field", () => {
    expect(readJson("{", "aws").mistakes).toEqual({ "": "notJson" });
    expect(readJson("[]", "aws").mistakes).toEqual({ "": "notObject" });
    expect(readJson("{}", "azure").mistakes).toEqual({ "": "notList" });
    expect(readJson("[]", "azure").mistakes).toEqual({ "": "empty" });
    expect(readJson(JSON.stringify(Array(65).fill({})), "azure").mistakes).toEqual({ "": "tooMany" });
    expect(readJson('[{}, 1, {"key": "x", "api_key": 7}]', "azure").mistakes).toEqual({
      "[1]": "notObject",
      "[2].key": "unknown",
      "[2].api_key": "notText",
    });
  });
});

describe("fields", () => {
  it("are checked all at once", () => {
    expect(checkAws({ accessKeyId: "", secretAccessKey: "", region: "Europe" })).toEqual({
      accessKeyId: "missing",
      secretAccessKey: "missing",
      region: "region",
    });
    expect(checkAws({ apiKey: "k", region: "us-gov-west-1" })).toEqual({});
    const line = { model_slug: "m", endpoint_url: "http://acme.example", api_key: "", model_id: "d" };
    const good = { ...line, endpoint_url: "https://acme.openai.azure.com", api_key: "k" };
    expect(checkAzure([line, good, good])).toEqual({
      "[0].api_key": "missing",
      "[0].endpoint_url": "https",
      "[2]": "twice",
    });
    expect(checkAzure([])).toEqual({ "": "empty" });
    expect(checkAccount({ type: "authorized_user", project_id: "p", private_key: "x" })).toEqual({
      client_email: "missing",
      type: "serviceAccount",
      private_key: "pem",
    });
    expect(checkLocation("eu/..")).toEqual({ location: "location" });
    expect(checkLocation("europe-west4")).toEqual({});
  });

  it("show of a short secret nothing", () => {
    expect(endOf("0123456789abcdef")).toBe("…cdef");
    expect(endOf("0123")).toBe("…");
  });
});
