// The first-key story: from signing in to the first answer.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { everythingIn, signInByForm, steps, withPage, world } from "./rig.mjs";

const run = promisify(execFile);

test("an owner brings the first key, and sees the first request arrive", async (t) => {
  const step = steps(t);
  await withPage({}, async (page) => {
    await step("signs in", async () => {
      await page.goto("/");
      await page.waitForURL("**/sign-in");
      await signInByForm(page, "fresh owner");
      assert.equal(new URL(page.url()).pathname, "/o/fresh");
      assert.equal(await page.evaluate(() => document.cookie), "", "a cookie that scripts can read");
      assert.ok(!(await everythingIn(page)).includes(world.people["fresh owner"].password));
    });

    await step("stores a key, and a router tries it", async () => {
      await page.getByRole("link", { name: "Bring a key" }).first().click();
      await page.getByRole("radio", { name: "OpenAI", exact: true }).check();
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByLabel("API key of OpenAI").fill(world.providerKey);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByLabel("Label").fill("First key");
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByRole("checkbox").check();
      await page.getByRole("button", { name: "Store and test" }).click();
      await page.getByText("It works: OpenAI accepts the key").waitFor();
      const left = await everythingIn(page);
      assert.ok(!left.includes(world.providerKey), "the provider's key is still in the page");
    });

    await step("creates a policy", async () => {
      await page.getByRole("link", { name: /Create a policy/ }).click();
      await page.getByLabel("Name").fill("main");
      await page.getByRole("combobox", { name: "Model of line 1" }).fill("openai/gpt-4o-mini");
      await page.keyboard.press("Tab"); // away from the suggestions
      await page.getByRole("button", { name: "Create policy" }).click();
      await page.getByText("main is ready").waitFor();
    });

    let key;
    let curl;
    await step("creates an API key, which is shown once with lines to paste", async () => {
      await page.getByRole("link", { name: "API keys", exact: true }).click();
      await page.getByRole("button", { name: "Create an API key" }).first().click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name", { exact: true }).fill("first app");
      await dialog.getByLabel("Default policy").selectOption({ label: "main" });
      await dialog.getByRole("radio", { name: "Full" }).check();
      await dialog.getByRole("button", { name: "Create API key" }).click();
      const field = dialog.getByLabel("API key", { exact: true });
      await field.waitFor();
      key = await field.inputValue();
      assert.match(key, /^clv/);
      for (const [language, mark] of [["Python", "from openai import"], ["Node", 'from "openai"'], ["Go", "package main"], ["curl", "curl -N"]]) {
        await dialog.getByRole("tab", { name: language, exact: true }).click();
        const lines = await dialog.getByRole("tabpanel").locator("pre").innerText();
        assert.ok(lines.includes(mark), `${language}: ${lines}`);
        assert.ok(lines.includes(world.baseURL) && lines.includes("policy/main"), `${language}: ${lines}`);
        assert.ok(!lines.includes(key), `${language} spreads the key`);
        curl = lines;
      }
      await dialog.getByRole("button", { name: "I have copied it" }).click();
      await dialog.waitFor({ state: "detached" });
      await page.getByRole("row", { name: /first app/ }).waitFor();
      assert.ok(!(await everythingIn(page)).includes(key), "the API key is still in the page");
    });

    await step("runs the curl lines as they are, and the request appears without a reload", async () => {
      await page.getByRole("link", { name: "Requests", exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "Requests" }).waitFor();
      await page.evaluate(() => {
        globalThis.sameDocument = true;
      });
      const { stdout } = await answered(curl, key);
      assert.match(stdout, /data: \[DONE\]/);
      await page.getByRole("row", { name: /gpt-4o-mini/ }).first().waitFor();
      assert.ok(await page.evaluate(() => globalThis.sameDocument), "the page was loaded again");
    });

    await step("opens the request: attempts, trace id and waterfall", async () => {
      await page.getByRole("row", { name: /gpt-4o-mini/ }).first().getByRole("link").first().click();
      await page.waitForURL("**/requests/req_*");
      const main = page.getByRole("main");
      await main.getByText(/^[0-9a-f]{32}$/).first().waitFor();
      await main.getByText("openai/gpt-4o-mini").first().waitFor();
      await main.getByText("First key").first().waitFor();
      await main.getByText(/chat gpt-4o-mini/).first().waitFor();
      assert.ok(!(await everythingIn(page)).includes(key));
    });
  });
});

// The API key reaches routers within a moment of its making.
async function answered(curl, key) {
  for (let n = 0; ; n++) {
    const result = await run("bash", ["-c", curl], { env: { ...process.env, CLAVIGER_API_KEY: key } });
    if (result.stdout.includes("[DONE]") || n === 50) return result;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
