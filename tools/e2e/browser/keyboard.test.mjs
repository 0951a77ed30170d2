// The admin without a mouse.
import assert from "node:assert/strict";
import { test } from "node:test";
import { settled, withPage, world } from "./rig.mjs";

const focused = (page) =>
  page.evaluate(() => {
    const { activeElement: node } = document;
    return node?.getAttribute("aria-label") || node?.labels?.[0]?.textContent || node?.textContent?.trim() || node?.tagName;
  });

// Presses Tab until what is named has the focus; fails after so many.
async function tabTo(page, name, most = 40) {
  const seen = [];
  for (let n = 0; n < most; n++) {
    await page.keyboard.press("Tab");
    const now = await focused(page);
    seen.push(now);
    if (name.test(now)) return seen;
  }
  assert.fail(`Tab did not reach ${name}: ${seen.join(" | ")}`);
}

// The focus can be seen: an outline, a shadow or another border than without it.
async function visibly(page) {
  const look = () =>
    page.evaluate(() => {
      const look = (node) => {
        const { outlineStyle, outlineWidth, boxShadow, borderColor } = getComputedStyle(node);
        return `${outlineStyle} ${outlineWidth} ${boxShadow} ${borderColor}`;
      };
      const node = document.activeElement;
      const chain = [node, node.parentElement, node.parentElement?.parentElement].filter(Boolean);
      const on = chain.map(look);
      node.blur();
      const off = chain.map(look);
      node.focus({ focusVisible: true });
      return { on: on.join(), off: off.join() };
    });
  const { on, off } = await look();
  assert.notEqual(on, off, `the focus on "${await focused(page)}" cannot be seen`);
}

test("signing in", () =>
  withPage({}, async (page) => {
    await page.goto("/sign-in?org=acme");
    const { email, password } = world.people["acme admin"];
    await page.waitForFunction(() => document.activeElement?.getAttribute("name") === "email");
    await page.keyboard.type(email);
    await page.keyboard.press("Tab");
    await page.keyboard.type(password);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  }));

test("the tab order is that of the page, and the focus can be seen", () =>
  withPage({ as: "acme owner" }, async (page) => {
    await page.goto("/o/acme/credentials");
    await settled(page);
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to content");
    const order = await tabTo(page, /^Members$/);
    const positions = ["Overview", "Credentials", "Policies", "API keys", "Usage", "Requests", "Members"].map((name) => order.indexOf(name));
    assert.ok(positions.every((at, i) => at >= 0 && (i === 0 || at > positions[i - 1])), order.join(" | "));
    for (let n = 0; n < 8; n++) {
      if (await page.evaluate(() => document.activeElement === document.body)) break; // behind the last one
      await visibly(page);
      await page.keyboard.press("Tab");
    }
  }));

test("skipping to the content", () =>
  withPage({ as: "acme owner" }, async (page) => {
    await page.goto("/o/acme/credentials");
    await settled(page);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement)), await focused(page));
  }));

test("the command palette finds a page and an action, and closes with Escape", () =>
  withPage({ as: "acme owner" }, async (page) => {
    await page.goto("/o/acme");
    await settled(page);
    const search = page.getByPlaceholder("Search pages and actions");
    await page.keyboard.press("Control+k");
    await search.waitFor();
    await page.keyboard.press("Escape");
    await search.waitFor({ state: "detached" });
    await page.keyboard.press("Control+k");
    await taking(page);
    await page.keyboard.type("polic");
    await chosen(page, "Policies");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Policies" }).waitFor();
    await page.keyboard.press("Control+k");
    await taking(page);
    await page.keyboard.type("create");
    await chosen(page, "Create a policy");
    await page.keyboard.press("ArrowDown");
    await chosen(page, "Create an API key");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Create an API key" }).waitFor();
  }));

// The palette takes the focus a moment after it is there: what is typed before goes to the page.
const taking = (page) => page.waitForFunction(() => document.activeElement?.placeholder === "Search pages and actions");

// The palette marks what Enter would do.
const chosen = (page, name) => page.locator("[data-selected]").getByText(name, { exact: true }).waitFor();

test("a dialog takes the focus, keeps it, and gives it back after Escape", () =>
  withPage({ as: "acme owner" }, async (page) => {
    await page.goto("/o/acme/members");
    await settled(page);
    await page.getByRole("button", { name: "Add a member" }).first().focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    await page.waitForFunction(() => document.querySelector('[role="dialog"]')?.contains(document.activeElement));
    for (let n = 0; n < 14; n++) {
      await page.keyboard.press("Tab");
      assert.ok(await page.evaluate(() => document.querySelector('[role="dialog"]').contains(document.activeElement)), await focused(page));
    }
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.waitForFunction(() => document.activeElement?.textContent?.includes("Add a member"));
  }));

test("a menu opens, moves and closes", () =>
  withPage({ as: "acme owner" }, async (page) => {
    await page.goto("/o/acme/credentials");
    await settled(page);
    await page.getByRole("button", { name: "Change Team key" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("menuitem").first().waitFor();
    await page.keyboard.press("ArrowDown");
    await page.waitForFunction(() => document.activeElement?.getAttribute("role") === "menuitem");
    await page.keyboard.press("Escape");
    await page.getByRole("menuitem").first().waitFor({ state: "detached" });
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Change Team key");
  }));

test("an API key, from the button to its lines", () =>
  withPage({ as: "acme owner" }, async (page) => {
    await page.goto("/o/acme/api-keys");
    await settled(page);
    await tabTo(page, /^Create an API key$/);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.labels?.[0]?.textContent?.startsWith("Name"));
    await page.keyboard.type(`by keyboard ${Date.now()}`);
    await page.keyboard.press("Enter");
    const field = page.getByRole("dialog").getByLabel("API key", { exact: true });
    await field.waitFor();
    await page.keyboard.press("Escape"); // a slip must not lose the key
    assert.match(await field.inputValue(), /^clv_live_/);
    await tabTo(page, /^I have copied it$/);
    await page.keyboard.press("Enter");
    await field.waitFor({ state: "detached" });
  }));

test("a policy: lines and groups are written, moved and published", () =>
  withPage({ as: "desk owner" }, async (page) => {
    await page.goto("/o/desk/policies/new");
    await settled(page);
    const name = `by-keyboard-${Date.now()}`;
    await tabTo(page, /^Name$/);
    await page.keyboard.type(name);
    await tabTo(page, /^Model of line 1$/);
    await page.keyboard.type("openai/gpt-4o");
    await page.keyboard.press("Escape"); // the suggestions
    await tabTo(page, /^Add a line$/);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Model of line 2");
    await page.keyboard.type("openai/gpt-4o-mini");
    await page.keyboard.press("Escape");
    await tabTo(page, /^Add a group$/);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Model of line 3");
    await page.keyboard.type("policy/main");
    await page.keyboard.press("Escape");
    await tabTo(page, /^Move line 3 up$/);
    await page.keyboard.press("Enter"); // over the edge, into group 1
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Move line 3 up");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Move line 2 up");
    await page.getByText("Line moved to place 2 of 3").waitFor({ state: "attached" });
    await tabTo(page, /^Remove group 2$/);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll('input[aria-label^="Model of line"]').length === 3);
    await tabTo(page, /^Create policy$/);
    await page.keyboard.press("Enter");
    await page.getByText(`${name} is ready`).waitFor();
    const row = page.getByRole("row", { name: new RegExp(name) });
    await row.getByRole("listitem").first().waitFor();
    assert.deepEqual(await row.getByRole("listitem").allInnerTexts().then((lines) => lines.map((line) => line.replace(/\s+/g, " "))), [
      "1 openai/gpt-4o Own",
      "2 policy/main",
      "3 openai/gpt-4o-mini Own",
    ]);
  }));
