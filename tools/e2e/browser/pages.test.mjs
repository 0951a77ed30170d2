// Every page: fit to look at in light and dark and on a phone, and fit for everybody.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { looksRight, settled, shared, withPage, world } from "./rig.mjs";

const pages = {
  overview: { path: "" },
  "bring-a-key": { path: "/bring-a-key" },
  credentials: { path: "/credentials" },
  policies: { path: "/policies" },
  "policy-new": { path: "/policies/new" },
  policy: { path: "/policies", open: (page) => page.getByRole("link", { name: /main/ }).first().click(), url: "**/policies/pol_*" },
  credential: { path: "/credentials", open: (page) => page.getByRole("link", { name: "Team key" }).click(), url: "**/credentials/cred_*" },
  "preview-new": { path: "/preview" },
  preview: { path: "/preview", open: ask },
  routing: { path: "/routing" },
  groups: { path: "/groups" },
  "api-keys": { path: "/api-keys" },
  "api-key-new": { path: "/api-keys?create=true", open: (page) => page.getByRole("dialog").waitFor() },
  usage: { path: "/usage" },
  requests: { path: "/requests" },
  request: { path: "/requests", open: (page) => page.getByRole("row").nth(1).getByRole("link").first().click(), url: "**/requests/req_*" },
  members: { path: "/members" },
  account: { path: "/account" },
  "not-found": { path: "/no-such-page" },
};

// Asks what would serve a request of the first API key.
async function ask(page) {
  await page.getByLabel("API key").selectOption({ index: 1 });
  await page.getByRole("combobox", { name: "Model or policy" }).fill("policy/main");
  await page.getByLabel("Size of the prompt").fill("2000");
  await page.getByLabel("Size of the answer").fill("500");
  await page.getByRole("button", { name: "What would serve?" }).click();
  await page.getByText("Nobody was called.").waitFor();
  assert.match(page.url(), /model=policy%2Fmain/);
}

async function visit(page, { path, at = `/o/acme${path}`, open, url }) {
  await page.goto(at);
  await settled(page);
  if (open) await open(page);
  if (url) {
    await page.waitForURL(url);
    await settled(page);
  }
}

for (const [who, list] of [
  [undefined, { "sign-in": { at: "/sign-in" } }],
  ["acme owner", pages],
]) {
  describe(who ? "signed in" : "before", () => {
    let profile;
    before(async () => {
      profile = await shared({ as: who });
    });
    after(() => profile.context.close());
    for (const [name, where] of Object.entries(list)) {
      test(name, async () => {
        const page = await profile.context.newPage();
        await visit(page, where);
        await looksRight(page, name);
        await profile.check();
        await page.close();
      });
    }
  });
}

test("the first page needs at most 300 KiB of compressed script", () =>
  withPage({}, async (page, context) => {
    const wire = await context.newCDPSession(page);
    await wire.send("Network.enable");
    const kinds = new Map();
    let bytes = 0;
    wire.on("Network.responseReceived", ({ requestId, type }) => kinds.set(requestId, type));
    wire.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
      if (kinds.get(requestId) === "Script") bytes += encodedDataLength;
    });
    await page.goto("/sign-in", { waitUntil: "networkidle" });
    assert.ok(bytes > 10_000, `only ${bytes} bytes were seen`);
    assert.ok(bytes <= 300 * 1024, `${bytes} bytes`);
    console.error(`first page: ${bytes} bytes of script on the wire`);
  }));

test("what is shown comes from this origin only", () =>
  withPage({ as: "acme owner" }, async (page) => {
    const strangers = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(world.baseURL) && !request.url().startsWith("data:")) strangers.push(request.url());
    });
    await visit(page, pages.overview);
    assert.deepEqual(strangers, []);
  }));
