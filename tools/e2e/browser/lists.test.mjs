// Long lists come page by page, by key.
import assert from "node:assert/strict";
import { test } from "node:test";
import { settled, withPage } from "./rig.mjs";

// What a browser asked of a method, and how many entries each answer had.
function listen(page, method, entries) {
  const calls = [];
  page.on("response", async (response) => {
    if (!response.url().includes(`/${method}`)) return;
    const body = await response.json().catch(() => ({}));
    calls.push({ entries: (body[entries] ?? []).length, token: body.nextPageToken ?? "" });
  });
  return calls;
}

async function readsOn(page, { path, rows }) {
  await page.goto(path);
  await settled(page);
  const row = page.getByRole("main").getByRole("row");
  await row.nth(1).waitFor();
  const first = await row.count();
  assert.ok(first > 10 && first < rows, `${first} rows at first`);
  let shown = first;
  for (let n = 0; n < 20; n++) {
    const more = page.getByRole("button", { name: "Load more" });
    if ((await more.count()) === 0) break;
    await more.click();
    await page.waitForFunction((before) => document.querySelectorAll("main [role=row], main tr").length > before, shown);
    shown = await row.count();
  }
  return shown;
}

test("API keys", () =>
  withPage({ as: "busy owner" }, async (page) => {
    const calls = listen(page, "ListApiKeys", "apiKeys");
    const shown = await readsOn(page, { path: "/o/busy/api-keys", rows: 131 });
    assert.ok(shown >= 131, `${shown} rows in the end`);
    assert.ok(calls.some(({ token }) => token !== ""), JSON.stringify(calls));
    const names = await page.getByRole("main").getByRole("row").getByText(/^service \d{3}$/).allInnerTexts();
    assert.equal(new Set(names).size, names.length, "a key is listed twice");
    assert.equal(names.length, 130);
  }));

test("choosers find what no short list shows, and a preview names what would serve it", () =>
  withPage({ as: "busy owner" }, async (page) => {
    await page.goto("/o/busy/preview");
    // A short list is a plain select; this one is long, and can be searched.
    await page.getByRole("combobox", { name: "API key" }).and(page.locator("input")).fill("service 129");
    await page.getByRole("option", { name: "service 129" }).click();
    await page.getByRole("combobox", { name: "Model or policy" }).fill("policy/main");
    await page.getByRole("button", { name: "What would serve?" }).click();
    await page.waitForURL(/key=key_/);
    await page.getByText("openai/gpt-4o-mini would serve").waitFor();
    await page.getByRole("link", { name: "Team key" }).waitFor();
  }));

test("requests", () =>
  withPage({ as: "busy owner" }, async (page) => {
    const calls = listen(page, "ListRequests", "attempts");
    const shown = await readsOn(page, { path: "/o/busy/requests", rows: 231 });
    assert.ok(shown >= 231, `${shown} rows in the end`);
    assert.ok(calls.length === 0 || calls.every(({ entries }) => entries <= 50), JSON.stringify(calls));
  }));

test("groups of usage", () =>
  withPage({ as: "busy owner" }, async (page) => {
    // What was used is counted a moment later, and the page reads again by itself.
    await page.goto("/o/busy/usage?by=tag&tag=run");
    await page.getByRole("button", { name: "Load more" }).waitFor();
    const shown = await readsOn(page, { path: "/o/busy/usage?by=tag&tag=run", rows: 231 });
    assert.ok(shown >= 231, `${shown} rows in the end`);
  }));
