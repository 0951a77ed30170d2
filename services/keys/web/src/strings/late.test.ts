import i18next from "i18next";
import { describe, expect, test } from "vitest";
import { apiKeys } from "./en/apikeys";
import { credential } from "./en/credential";
import { credentials } from "./en/credentials";
import { firstKey } from "./en/firstkey";
import { groups } from "./en/groups";
import { members } from "./en/members";
import { policies } from "./en/policies";
import { preview } from "./en/preview";
import { receipt } from "./en/receipt";
import { request } from "./en/request";
import { routing } from "./en/routing";
import { secret } from "./en/secret";
import { usage } from "./en/usage";

const sources = import.meta.glob<string>("../{app,features,session,shared}/**/*.{ts,tsx}", {
  query: "?raw",
  import: "default",
  eager: true,
});

const late: Record<string, [section: string, words: object]> = {
  apikeys: ["apiKeys", apiKeys],
  credential: ["credential", credential],
  credentials: ["credentials", credentials],
  firstkey: ["firstKey", firstKey],
  groups: ["groups", groups],
  members: ["members", members],
  policies: ["policies", policies],
  preview: ["preview", preview],
  receipt: ["receipt", receipt],
  request: ["requests", request],
  routing: ["routing", routing],
  secret: ["secret", secret],
  usage: ["usage", usage],
};

describe.each(Object.entries(late))("words of late/%s", (name, [section, words]) => {
  const keys = Object.keys(words).map((key) => key.replace(/_(one|other)$/, ""));
  const says = new RegExp(`["'\`]${section}\\.(${keys.join("|")}|\\$\\{)(?=[."'\`{])`);

  test("are imported by each file that says them", () => {
    const saying = Object.entries(sources).filter(
      ([file, text]) => !file.includes(".test.") && says.test(text),
    );
    expect(saying.length).toBeGreaterThan(1);
    const without = saying.filter(([, text]) => !text.includes(`import "@/strings/late/${name}";`));
    expect(without.map(([file]) => file)).toEqual([]);
  });

  test("stand beside those that are there, and replace none", async () => {
    const [key = ""] = Object.keys(words);
    expect(i18next.exists(`${section}.${key}`)).toBe(false);
    await import(`./late/${name}.ts`);
    expect(i18next.getResource("en", "translation", `${section}.${key}`)).toEqual(
      (words as Record<string, unknown>)[key],
    );
    expect(i18next.exists("requests.title")).toBe(true);
  });
});
