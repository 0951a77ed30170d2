// Rules and keys that change while requests go through them: policies with their versions, two keys of one
// credential, a fire drill, and switching off with a receipt.
import assert from "node:assert/strict";
import { test } from "node:test";
import { complete, everythingIn, looksRight, settled, steps, withPage, world } from "./rig.mjs";

const as = "desk owner";
// A refusal of the server is an answer that the console tells of.
const refused = [/status of 400/];
const key = () => world.apiKeys.desk;

// Routers hear of a change a moment after it.
async function served(model, apiKey = key()) {
  for (let n = 0; ; n++) {
    const answer = await complete(apiKey, { model });
    if (answer.status === 200 || n === 50) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const model = (page, line) => page.getByRole("combobox", { name: `Model of line ${line}` });
const button = (page, name) => page.getByRole("button", { name, exact: true });

test("a policy, from two groups to a roll-back", (t) =>
  withPage({ as, expected: refused }, async (page) => {
    const step = steps(t);
    await step("is built of two groups, published, and used", async () => {
      await page.goto("/o/desk/policies/new");
      await settled(page);
      await page.getByLabel("Name").fill("two-steps");
      await model(page, 1).fill("openai/gpt-4o-mini");
      await page.keyboard.press("Tab");
      await page.getByLabel("Whose keys for line 1").selectOption({ label: "Team key" });
      await button(page, "Add a group").click();
      await model(page, 2).fill("anthropic/claude-haiku-4-5");
      await page.keyboard.press("Tab");
      await page.getByLabel("Whose keys for line 2").selectOption({ label: "Platform" });
      await page.getByLabel("Order of the lines in group 2").selectOption({ label: "By weight" });
      await page.getByLabel("Weight of line 2").fill("3");
      await button(page, "Details of line 1").click();
      await page.getByLabel("Answer begins within").fill("20");
      await button(page, "Conditions of group 2").click();
      await page.getByLabel("Prompt of at most").fill("100000");
      await looksRight(page, "policy-two-groups");
      await button(page, "Create policy").click();
      await page.getByText("two-steps is ready").waitFor();
      const { status, requestId } = await served("policy/two-steps");
      assert.equal(status, 200);
      await page.goto(`/o/desk/requests/${requestId}`);
      const main = page.getByRole("main");
      for (let n = 0; n < 50 && (await main.getByText("version 1, line 1").count()) === 0; n++) {
        const again = page.getByRole("button", { name: "Look again" });
        if (await again.count()) await again.click();
        await page.waitForTimeout(200);
      }
      await main.getByText("version 1, line 1").first().waitFor();
      await main.getByRole("link", { name: "two-steps" }).click();
      await page.getByRole("heading", { level: 1, name: "two-steps" }).waitFor();
    });

    await step("tells the number of a wrong line while it is written, and when it is saved", async () => {
      await model(page, 2).fill("opanai/gpt-4o");
      await page.keyboard.press("Tab");
      await page.getByText(/^Line 2: .*opanai/).waitFor();
      assert.equal(await model(page, 2).getAttribute("aria-invalid"), "true");
      assert.notEqual(await model(page, 1).getAttribute("aria-invalid"), "true");
      await looksRight(page, "policy-wrong-line");
      await button(page, "Publish…").click();
      await page.getByText("It was not saved: mend what is marked.").waitFor();
      await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Model of line 2");
      await button(page, "Move line 2 up").click();
      await page.getByText(/^Line 2: .*opanai/).waitFor(); // it is the last of group 1 now
      await button(page, "Remove line 2").click();
      await button(page, "Remove group 2").click();
    });

    await step("shows what changes before it is published", async () => {
      await button(page, "Add a line").click();
      await model(page, 2).fill("openai/gpt-4o");
      await page.keyboard.press("Tab");
      await button(page, "Publish…").click();
      const dialog = page.getByRole("dialog", { name: "Publish two-steps" });
      await dialog.getByRole("list", { name: "Changes" }).getByText("openai/gpt-4o").first().waitFor();
      await dialog.getByRole("list", { name: "Changes" }).getByText("anthropic/claude-haiku-4-5").first().waitFor();
      await looksRight(page, "policy-publish");
      await dialog.getByRole("button", { name: "Publish version 2" }).click();
      await page.getByText("Version 2 of two-steps serves").waitFor();
      assert.equal((await served("policy/two-steps")).status, 200);
    });

    await step("rolls back, which is a version of its own", async () => {
      await button(page, "Roll back to version 1").click();
      const dialog = page.getByRole("dialog", { name: "Roll back to version 1" });
      await dialog.getByRole("list", { name: "Changes" }).waitFor();
      await dialog.getByRole("button", { name: "Roll back" }).click();
      await page.getByText("two-steps is back to the rule of version 1").waitFor();
      await page.getByRole("row", { name: /^3/ }).getByText("Version 1 again").waitFor();
      await page.waitForFunction(() => document.querySelector('[aria-label="Model of line 2"]')?.value === "anthropic/claude-haiku-4-5");
    });

    await step("keeps a draft that serves nobody until it is discarded", async () => {
      await button(page, "Remove line 2").click();
      await button(page, "Remove group 2").click();
      await button(page, "Save draft").click();
      await page.getByText("You see the draft. Version 3 serves until it is published.").waitFor();
      await page.reload();
      await page.getByText("You see the draft. Version 3 serves until it is published.").waitFor();
      await button(page, "Discard draft").click();
      await page.getByRole("dialog").getByRole("button", { name: "Discard draft" }).click();
      await page.getByText("The draft of two-steps is discarded").waitFor();
      await model(page, 2).waitFor();
    });
  }));

async function openCredential(page, label) {
  await page.goto("/o/desk/credentials");
  await page.getByRole("link", { name: label, exact: true }).click();
  await page.getByRole("heading", { level: 1, name: label }).waitFor();
  await settled(page);
}

test("a credential, from a drill over two keys to switching off", (t) =>
  withPage({ as }, async (page) => {
    const step = steps(t);
    const canary = "sk-desk-second-canary-0123456789";
    await step("seems to fail in a drill, and tells who served instead", async () => {
      await openCredential(page, "Team key");
      await page.getByLabel("API key", { exact: true }).selectOption({ label: "desk app" });
      await page.getByRole("radio", { name: /^Answer 429/ }).check();
      await button(page, "Start the drill").click();
      await page.getByText(/Answer 429 for desk app: \d+ s left/).waitFor();
      const table = page.getByRole("table", { name: "Who served instead" });
      for (let n = 0; n < 50 && (await table.count()) === 0; n++) {
        assert.equal((await complete(key(), { model: "policy/main" })).status, 200);
        await page.waitForTimeout(200);
      }
      const row = table.getByRole("row", { name: /gpt-4o-mini/ });
      await row.getByText("Spare").waitFor();
      await row.getByText("main, line 1").waitFor();
      await page.getByText("Every one was served by somebody else").waitFor();
      await looksRight(page, "credential-drill");
      await button(page, "Stop now").click();
      await page.getByRole("table", { name: "Earlier drills" }).waitFor();
      await page.getByText("Works").first().waitFor(); // a drill changes no state
    });

    await step("changes to a second key: staged, tested, a share, all, promoted", async () => {
      await button(page, "Stage a second key").click();
      await page.getByLabel("Second key").fill(canary);
      await button(page, "Stage a second key").click();
      await page.getByText("The second key is staged and being tested").waitFor();
      const rotation = page.getByRole("listitem").filter({ hasText: "No. 2" });
      await rotation.getByText("Works").waitFor();
      assert.ok(!(await everythingIn(page)).includes(canary), "the second key is still in the page");
      await button(page, "Give it 1 % of the requests").click();
      await rotation.getByText("1 % of the requests", { exact: true }).waitFor();
      await looksRight(page, "credential-rotation");
      await button(page, "Give it 100 % of the requests").click();
      await rotation.getByText("100 % of the requests", { exact: true }).waitFor();
      assert.equal((await served("policy/main")).status, 200);
      await button(page, "Promote").click();
      await page.getByRole("dialog").getByRole("button", { name: "Promote" }).click();
      await page.getByText("Team key uses its new key").waitFor();
      await page.getByText("Do not revoke it yet").waitFor();
      await page.getByText(/It was used within the last 24 hours|Not every connected router has said/).waitFor();
      assert.equal((await served("policy/main")).status, 200);
    });

    await step("is switched off at every router, with a receipt", async () => {
      await openCredential(page, "Spare");
      await button(page, "Change Spare").click();
      await page.getByRole("menuitem", { name: "Switch off" }).click();
      const dialog = page.getByRole("dialog", { name: "Switch off Spare" });
      await dialog.getByRole("checkbox", { name: /Cut answers/ }).check();
      await dialog.getByRole("button", { name: "Switch off" }).click();
      await dialog.getByText(/^1 of 1 router confirmed in (< )?[\d.]+ s$/).waitFor();
      await looksRight(page, "credential-receipt");
      await dialog.getByRole("button", { name: "Done" }).click();
      await page.getByText("Switched off").first().waitFor();
    });
  }));

test("routing and groups: a rule, an order, a group that an API key is in", () =>
  withPage({ as }, async (page) => {
    await page.goto("/o/desk/routing");
    await settled(page);
    await page.getByLabel("Add a rule for a provider").selectOption({ label: "Mistral" });
    for (const provider of ["OpenAI", "Anthropic"]) await page.getByLabel("Add a provider to the order").selectOption({ label: provider });
    await button(page, "Move Anthropic up").click();
    await button(page, "Save preferences").click();
    await page.getByText("The preferences are saved.").waitFor();
    await page.reload();
    await settled(page);
    assert.deepEqual(await page.getByRole("main").getByRole("listitem").allInnerTexts(), ["1 Anthropic", "2 OpenAI"]);
    await looksRight(page, "routing-set");

    await page.goto("/o/desk/groups");
    await settled(page);
    await page.getByRole("button", { name: "Create a group" }).first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill("support");
    await dialog.getByLabel("Default policy").selectOption({ label: "main" });
    await dialog.getByLabel("Approved models").fill("openai/*");
    await page.keyboard.press("Enter");
    await dialog.getByRole("button", { name: "Create group" }).click();
    await page.getByText("support is ready").waitFor();

    await page.goto("/o/desk/api-keys");
    await settled(page);
    await button(page, "Actions for desk app").click();
    await page.getByRole("menuitem", { name: "Edit" }).click();
    await page.getByRole("dialog").getByLabel("Group", { exact: true }).selectOption({ label: "support" });
    await looksRight(page, "api-key-edit");
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("desk app is saved").waitFor();
    await page.getByRole("row", { name: /desk app/ }).getByText("support").waitFor();

    await page.goto("/o/desk/groups");
    await button(page, "Delete support").click();
    await page.getByRole("dialog").getByText("API keys: desk app").waitFor();

    await page.goto("/o/desk/routing");
    await settled(page);
    await page.getByLabel("Group", { exact: true }).selectOption({ label: "support" });
    await button(page, "Save preferences").click();
    await page.getByText("The preferences are saved.").waitFor();
    await page.goto("/o/desk/groups");
    await button(page, "Delete support").click();
    await page.getByRole("dialog").getByText("Routing: API keys that members create are in it").waitFor();
  }));

test("a member who is disabled: their API key is refused until they are enabled again", () =>
  withPage({ as }, async (page) => {
    const apiKey = await keyOf("desk member", "notebook");
    assert.equal((await served("policy/main", apiKey)).status, 200);
    await page.goto("/o/desk/api-keys");
    const row = page.getByRole("row", { name: /notebook/ });
    await row.getByText("support").waitFor(); // whatever group its member would have liked
    await page.goto("/o/desk/members");
    await settled(page);
    await button(page, "Change member@desk.example").click();
    await page.getByRole("menuitem", { name: "Disable" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Cut answers that are being given").check();
    await looksRight(page, "member-disable");
    await button(dialog, "Disable member").click();
    await dialog.getByText(/1 of 1 router confirmed/).waitFor();
    const { status, text } = await complete(apiKey);
    assert.equal(status, 401, text);
    assert.match(text, /disabled/);
    await looksRight(page, "member-receipt");
    await button(dialog, "Done").click();
    const person = page.getByRole("row", { name: /member@desk/ });
    await person.getByText(/^Disabled/).waitFor();
    await looksRight(page, "members-disabled");

    await page.goto("/o/desk/api-keys");
    await row.getByText("Suspended").waitFor();
    await settled(page);
    await looksRight(page, "api-keys-suspended");

    await page.goto("/o/desk/members");
    await button(page, "Change member@desk.example").click();
    await page.getByRole("menuitem", { name: "Enable" }).click();
    await page.getByText("member@desk.example can sign in again").waitFor();
    await person.getByText(/^Disabled/).waitFor({ state: "detached" });
    assert.equal((await served("policy/main", apiKey)).status, 200);
  }));

// The secret of a new API key of somebody's own.
async function keyOf(who, name) {
  const call = async (method, body, token) => {
    const response = await fetch(`${world.baseURL}/claviger.keys.v1.${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Connect-Protocol-Version": "1", ...(token && { Authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const { accessToken } = await call("SessionService/SignIn", world.people[who]);
  return (await call("ApiKeyService/CreateApiKey", { name, idempotencyKey: name }, accessToken)).secret;
}

// What each role finds where rules and keys are kept.
for (const [role, changes] of [
  ["admin", { policy: true, preferences: false, models: true, credential: false }],
  ["viewer", { policy: false, preferences: false, models: false, credential: false }],
]) {
  test(`${role}: sees policies, routing and credentials, and changes what the role may`, () =>
    withPage({ as: `desk ${role}` }, async (page) => {
      const main = page.getByRole("main");
      const offers = async (name) => (await main.getByRole("button", { name }).count()) > 0;
      await page.goto("/o/desk/policies");
      await page.getByRole("link", { name: "main", exact: true }).click();
      await page.getByRole("heading", { level: 2, name: "Versions" }).waitFor();
      await settled(page);
      await main.getByRole("row", { name: /Serves/ }).waitFor();
      assert.equal(await offers(/Publish|Save draft|Delete policy/), changes.policy);
      assert.equal((await page.getByRole("combobox", { name: /Model of line/ }).count()) > 0, changes.policy);

      await page.goto("/o/desk/routing");
      await page.getByRole("heading", { level: 2, name: "Approved models" }).waitFor();
      await settled(page);
      assert.equal(await offers("Save preferences"), changes.preferences);
      assert.equal(await offers("Save approved models"), changes.models);

      await page.goto("/o/desk/groups");
      await settled(page);
      assert.equal(await offers("Create a group"), changes.models);

      await page.goto("/o/desk/credentials");
      await page.getByRole("link", { name: "Team key", exact: true }).click();
      await page.getByRole("heading", { level: 2, name: "Fire drill" }).waitFor();
      await settled(page);
      assert.equal(await offers(/Stage|Start|Change|Test|Promote|Give it|revoked/), changes.credential);
    }));
}
