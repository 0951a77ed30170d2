// Each role sees what it may, and is told the rest in words.
import assert from "node:assert/strict";
import { test } from "node:test";
import { settled, signInByForm, withPage } from "./rig.mjs";

const everywhere = ["Overview", "Policies", "What would serve?", "API keys", "Usage", "Requests"];
const seeing = [...everywhere, "Credentials", "Routing", "Groups", "Members"];
const roles = {
  owner: { pages: seeing, changes: { "/credentials": "Bring a key", "/policies": "Create a policy", "/api-keys": "Create an API key", "/members": "Add a member" } },
  admin: { pages: seeing, changes: { "/policies": "Create a policy", "/api-keys": "Create an API key", "/members": "Add a member" } },
  member: { pages: everywhere, changes: { "/api-keys": "Create an API key" } },
  viewer: { pages: seeing, changes: {} },
};
const offers = { "/credentials": "Bring a key", "/policies": "Create a policy", "/api-keys": "Create an API key", "/members": "Add a member" };
const titles = { "/credentials": "Credentials", "/policies": "Policies", "/api-keys": "API keys", "/members": "Members" };

for (const [role, { pages, changes }] of Object.entries(roles)) {
  test(role, () =>
    withPage({ as: `acme ${role}` }, async (page) => {
      await page.goto("/o/acme");
      await settled(page);
      const shown = await page.getByRole("navigation", { name: "Main" }).getByRole("link").allInnerTexts();
      assert.deepEqual(shown.sort(), [...pages].sort());
      for (const [path, offer] of Object.entries(offers)) {
        if (!pages.includes(titles[path])) continue;
        await page.goto(`/o/acme${path}`);
        await settled(page);
        const main = page.getByRole("main");
        const offered = (await main.getByRole("button", { name: offer }).count()) + (await main.getByRole("link", { name: offer }).count());
        assert.equal(offered > 0, changes[path] === offer, `${role}: "${offer}" on ${path}`);
      }
    }));
}

test("a member that types the address of a page for others is told so", () =>
  withPage({ as: "acme member", expected: [/status of 403/] }, async (page) => {
    for (const path of ["/credentials", "/members"]) {
      await page.goto(`/o/acme${path}`);
      await settled(page);
      await page.getByText(/role does not allow|not allowed|Only|owner/i).first().waitFor();
      assert.equal(await page.getByText("Team key").count(), 0);
      assert.equal(await page.getByText("viewer@acme.example").count(), 0);
    }
  }));

test("another organization's address leads to its sign-in, and shows nothing of it", () =>
  withPage({ as: "acme owner", expected: [/status of 401/] }, async (page) => {
    await page.goto("/o/hostile/credentials");
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    assert.equal(await page.getByLabel("Organization").inputValue(), "hostile");
    assert.equal(await page.getByText("Hostile").count(), 0);
  }));

test("one browser is in two organizations, and switches between them", () =>
  withPage({ expected: [/status of 401/] }, async (page, context) => {
    await page.goto("/sign-in");
    await signInByForm(page, "acme owner");
    await page.getByRole("button", { name: "Organization: Acme" }).click();
    await page.getByRole("menuitem", { name: "Sign in to another organization" }).click();
    await signInByForm(page, "busy owner");
    assert.match(page.url(), /\/o\/busy$/);
    await page.goto("/o/busy/api-keys");
    await page.getByText("service 000").first().waitFor();

    await page.getByRole("button", { name: "Organization: Busy" }).click();
    await page.getByRole("menuitem", { name: "Acme" }).click();
    await page.waitForURL(/\/o\/acme$/);
    await page.goto("/o/acme/api-keys");
    await page.getByText("shop assistant").first().waitFor();
    assert.equal(await page.getByText(/service \d\d\d/).count(), 0, "the other organization's keys");

    // Each window keeps its organization, and signing out of one leaves the other.
    const other = await context.newPage();
    await other.goto("/o/busy/api-keys");
    await other.getByText("service 000").first().waitFor();
    await page.goto("/o/acme/account");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    await other.reload();
    await other.getByText("service 000").first().waitFor();
    await page.goto("/o/acme");
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
  }));
