// Credentials that are more than one key: Bedrock's object, Azure's list, Vertex's file.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { everythingIn, looksRight, settled, withPage, world } from "./rig.mjs";

const canary = "canary-0123456789abcdef";
const as = "forms owner";
// A refusal of the server is an answer that the console tells of.
const refused = [/status of 400/];

async function choose(page, search, name) {
  await page.goto("/o/forms/bring-a-key");
  await settled(page);
  await page.getByRole("searchbox", { name: "Find a provider" }).fill(search);
  assert.ok(await page.getByRole("radio", { name, exact: true }).isChecked());
  await page.keyboard.press("Enter");
}

const next = (page) => page.getByRole("button", { name: "Continue" }).click();

async function store(page, label) {
  await page.getByLabel("Label").fill(label);
  await next(page);
  await page.getByRole("checkbox").check();
  await page.getByRole("button", { name: "Store and test" }).click();
}

async function stored(page, label) {
  await page.getByText(`${label} is stored, and its key is sealed.`).waitFor();
  const left = await everythingIn(page);
  assert.ok(!left.includes(canary) && !left.includes("BEGIN PRIVATE KEY"), "a secret is still in the page");
}

test("Bedrock's object is pasted, checked by field, stored and shown with its secrets masked", () =>
  withPage({ as }, async (page) => {
    await choose(page, "bedrock", "AWS Bedrock");
    await page.getByLabel("JSON").fill('{"accessKeyId": "AKIA", "region": "Europe", "secret": "x"}');
    await page.getByText("secret is not a field that is known").waitFor();
    await page.getByLabel("JSON").fill(
      JSON.stringify({ accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: canary, region: "Europe" }),
    );
    await page.getByText("The fields below are filled in.").waitFor();
    await next(page);
    await page.getByText("Is not a region's code").waitFor();
    await looksRight(page, "bring-a-key-bedrock");
    await page.getByLabel("Region", { exact: true }).fill("us-east-1");
    await next(page);
    await store(page, "Our AWS");
    await stored(page, "Our AWS");

    await page.goto("/o/forms/credentials");
    const row = page.getByRole("row", { name: /Our AWS/ });
    await row.getByText("us-east-1").waitFor();
    await row.getByRole("button", { name: "Change Our AWS" }).click();
    await page.getByRole("menuitem", { name: "Details" }).click();
    await page.getByRole("heading", { level: 1, name: "Our AWS" }).waitFor();
    const main = page.getByRole("main");
    await main.getByText("secretAccessKey").waitFor();
    await main.getByText("…cdef").first().waitFor();
    await looksRight(page, "credential-details");
    assert.ok(!(await everythingIn(page)).includes(canary));
  }));

test("Azure's list with a wrong field is refused beside the field, mended and stored", () =>
  withPage({ as, expected: refused }, async (page) => {
    await choose(page, "azure", "Azure OpenAI");
    const line = (slug, url, id) => ({ model_slug: slug, endpoint_url: url, api_key: canary, model_id: id });
    await page.getByLabel("JSON").fill(
      JSON.stringify([
        line("openai/gpt-4o", `${world.provider}/azure`, "gpt-4o"),
        line("openai/o3-mini", "https://169.254.169.254/openai", "o3-mini"),
      ]),
    );
    await page.getByText("2 deployments are filled in below.").waitFor();
    await looksRight(page, "bring-a-key-azure");
    await next(page);
    await store(page, "Our Azure");
    // Only the server knows where a router may go.
    await page.getByText("The key was not stored").waitFor();
    const second = page.getByRole("group", { name: "Deployment 2" });
    const endpoint = second.getByLabel("Endpoint");
    await second.getByText(/The endpoint's address is never called/).waitFor();
    assert.equal(await endpoint.inputValue(), "https://169.254.169.254/openai");
    assert.equal(await endpoint.getAttribute("aria-invalid"), "true");
    assert.ok(!(await everythingIn(page)).includes(canary), "a refused key is still in the page");
    await looksRight(page, "bring-a-key-azure-refused");
    await endpoint.fill("http://acme.openai.azure.com");
    await page.getByRole("group", { name: "Deployment 1" }).getByLabel("API key").fill(canary);
    await second.getByLabel("API key").fill(canary);
    await next(page);
    await second.getByText("Must begin with https://").waitFor();
    await endpoint.fill(`${world.provider}/azure`);
    await next(page);
    await store(page, "Our Azure");
    await stored(page, "Our Azure");
  }));

test("Vertex's file is read, stored with its location, and replaced by another", () =>
  withPage({ as }, async (page) => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const account = {
      type: "service_account",
      project_id: "acme-prod",
      private_key_id: "0123456789abcdef",
      private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
      client_email: "router@acme-prod.iam.gserviceaccount.com",
      token_uri: "https://oauth2.googleapis.com/token",
    };
    const file = (content) => ({ name: "account.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(content)) });
    await choose(page, "vertex", "Google Vertex AI");
    await page.getByLabel("Service account's file").setInputFiles(file({ ...account, type: "external_account" }));
    await page.getByText('Is not "service_account"').waitFor();
    await looksRight(page, "bring-a-key-vertex");
    await page.getByLabel("Service account's file").setInputFiles(file(account));
    await page.getByText(account.client_email).waitFor();
    await page.getByLabel("Location", { exact: true }).fill("europe-west4");
    await next(page);
    await store(page, "Our Vertex");
    await stored(page, "Our Vertex");

    await page.goto("/o/forms/credentials");
    await page.getByRole("row", { name: /Our Vertex/ }).getByText("acme-prod · europe-west4").waitFor();
    await page.getByRole("button", { name: "Change Our Vertex" }).click();
    await page.getByRole("menuitem", { name: "Replace the key" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Service account's JSON").fill(JSON.stringify({ ...account, private_key_id: "fedcba9876543210" }));
    await dialog.getByText("The service account is read").waitFor();
    assert.equal(await dialog.getByLabel("Location", { exact: true }).inputValue(), "europe-west4");
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.getByText("…3210").waitFor();
    await dialog.getByRole("button", { name: "Replace and test" }).click();
    await page.getByText("The key of Our Vertex is replaced").waitFor();
    assert.ok(!(await everythingIn(page)).includes("BEGIN PRIVATE KEY"));
  }));

test("every provider can be found and chosen with the keyboard alone", () =>
  withPage({ as }, async (page) => {
    await page.goto("/o/forms/bring-a-key");
    await settled(page);
    assert.equal(await page.getByRole("radio").count(), 15);
    await page.getByRole("searchbox", { name: "Find a provider" }).focus();
    await page.keyboard.type("google");
    await page.keyboard.press("Tab");
    assert.ok(await page.getByRole("radio", { name: "Google AI Studio" }).isChecked());
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    // The form's first field has the focus.
    await page.getByLabel("Service account's JSON").waitFor();
    await page.waitForFunction(() => document.activeElement?.tagName === "TEXTAREA");
    await page.keyboard.type("{}");
    await page.getByText(/client_email/).waitFor();
  }));
