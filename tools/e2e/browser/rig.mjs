// What the tests share: a Chromium, people who sign in, and a watch over every page: a violation of the
// content security policy, an error in the console, an exception or a script of a stranger fails the
// test that met it.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before } from "node:test";

// Playwright and axe are installed with the admin's own packages.
const require = createRequire(new URL("../../../services/keys/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const { AxeBuilder } = require("@axe-core/playwright");

assert.ok(process.env.CLAVIGER_WORLD, "run by TestTheAdminInARealBrowser");
export const world = JSON.parse(process.env.CLAVIGER_WORLD);

const desktop = { width: 1280, height: 900 };
const phone = { width: 390, height: 844 };

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: world.chromium, headless: true, args });
});
after(() => browser?.close());

/**
 * Runs a test with a browser profile and a page of its own, and fails if a page in it did what no page
 * may do. as is who is signed in. expected are patterns of console errors that belong to the story, such
 * as a refused request.
 */
export async function withPage({ as, expected = [], ...options }, run) {
  const { context, problems } = await profile(options);
  try {
    if (as) await enter(context, as);
    const page = await context.newPage();
    await run(page, context);
    await calm(context);
    const unexpected = problems.filter((problem) => !expected.some((pattern) => pattern.test(problem)));
    assert.deepEqual(unexpected, [], "what the page complained about");
  } finally {
    await context.close();
  }
}

/** A browser profile for several tests. Each of them calls check at its end. */
export async function shared({ as, ...options }) {
  const { context, problems } = await profile(options);
  if (as) await enter(context, as);
  return {
    context,
    async check() {
      await calm(context);
      assert.deepEqual(problems.splice(0), [], "what the page complained about");
    },
  };
}

// What the pages tell arrives before they answer another question.
async function calm(context) {
  for (const open of context.pages()) await open.evaluate(() => 0).catch(() => {});
}

async function profile({ scheme = "light", size = desktop }) {
  const context = await browser.newContext({
    baseURL: world.baseURL,
    colorScheme: scheme,
    viewport: size,
    reducedMotion: "reduce",
    locale: "en-GB",
    timezoneId: "UTC",
  });
  context.setDefaultTimeout(20_000);
  return { context, problems: await watch(context) };
}

const sessions = new Map();

// Signs in once, and gives every later profile the same cookie.
async function enter(context, who) {
  if (!sessions.has(who)) {
    const page = await context.newPage();
    await signIn(page, who);
    await page.close();
    sessions.set(who, await context.cookies());
    return;
  }
  await context.addCookies(sessions.get(who));
}

async function watch(context) {
  const problems = [];
  await context.exposeBinding("tellOfViolation", (_, text) => problems.push(text));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      const { effectiveDirective, blockedURI, sample, sourceFile } = event;
      globalThis.tellOfViolation(`CSP: ${effectiveDirective} ${blockedURI} ${sample} ${sourceFile}`);
    });
    let struck;
    Object.defineProperty(globalThis, "__xss", {
      get: () => struck,
      set: (value) => {
        struck = value;
        globalThis.tellOfViolation("a script of a stranger ran");
      },
    });
  });
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      problems.push(`console: ${message.text()} ${message.location().url}`);
    }
  });
  context.on("weberror", (error) => problems.push(`exception: ${error.error().stack}`));
  context.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return problems;
}

/** Begins a session without the form, which has tests of its own. */
export async function signIn(page, who) {
  const person = world.people[who];
  assert.ok(person, `nobody is called ${who}`);
  if (!page.url().startsWith(world.baseURL)) await page.goto("/sign-in");
  const status = await page.evaluate(async (body) => {
    const response = await fetch("/claviger.keys.v1.SessionService/SignIn", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Connect-Protocol-Version": "1" },
      body: JSON.stringify(body),
    });
    return response.status;
  }, { ...person, cookie: true });
  assert.equal(status, 200, `signing in as ${who}`);
}

/** Fills in the form for signing in. */
export async function signInByForm(page, who) {
  const { organization, email, password } = world.people[who];
  await page.getByLabel("Organization").fill(organization);
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
}

/** Waits until a page shows what it has to show. */
export async function settled(page) {
  await page.getByRole("heading", { level: 1 }).first().waitFor();
  await page.waitForFunction(() => !document.querySelector('[aria-busy="true"], .mantine-Skeleton-root'));
  await page.evaluate(() => document.fonts.ready);
}

// The pages that are phones, and how to speak to their browsers.
const phones = new WeakMap();

/** Makes a page that of a phone, which has scroll bars that take no room. What it returns takes that back. */
export async function asPhone(page) {
  await page.setViewportSize(phone);
  const wire = await page.context().newCDPSession(page);
  await wire.send("Emulation.setDeviceMetricsOverride", { ...phone, deviceScaleFactor: 2, mobile: true });
  phones.set(page, wire);
  return async () => {
    phones.delete(page);
    await wire.detach();
    await page.setViewportSize(desktop);
  };
}

/** Fails on serious and critical findings of axe. */
export async function accessible(page, what) {
  // What passes need not be told: that takes half of the time on long pages.
  const { violations } = await new AxeBuilder({ page }).options({ resultTypes: ["violations"] }).setLegacyMode().analyze();
  const bad = violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, impact, help, nodes }) => `${impact} ${id}: ${help}\n${nodes.map((node) => `  ${node.target}: ${node.failureSummary}`).join("\n")}`);
  assert.deepEqual(bad, [], `axe on ${what}`);
}

/** Fails if a page scrolls sideways. */
export async function fits(page) {
  const { wide, sticking } = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const sticking = [...document.body.querySelectorAll("*")]
      .filter((node) => node.getBoundingClientRect().right > width + 1)
      .slice(0, 5)
      .map((node) => `${node.tagName} ${node.className} ${Math.round(node.getBoundingClientRect().right)}`);
    return { wide: document.documentElement.scrollWidth - width, sticking };
  });
  assert.ok(wide <= 0, `the page is ${wide} px too wide: ${sticking.join("; ")}`);
}

/** Writes a picture of the whole page. */
export async function picture(page, name) {
  const file = path.join(world.screenshots, `${name}.png`);
  await page.evaluate(() => scrollTo(0, 0)); // what sticks to the window would stand in the middle
  const wire = phones.get(page);
  if (!wire) return page.screenshot({ path: file, fullPage: true, animations: "disabled" });
  // Playwright's own picture makes the page that of a desktop for its moment: with room for a scroll bar.
  const { cssContentSize } = await wire.send("Page.getLayoutMetrics");
  const clip = { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 };
  const { data } = await wire.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true, clip });
  await writeFile(file, data, "base64");
}

/** Fails unless a page is fit to look at and fit for everybody, in light and dark and on a phone. Leaves pictures. */
export async function looksRight(page, name) {
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.locator(`html[data-mantine-color-scheme="${scheme}"]`).waitFor({ state: "attached" });
    await accessible(page, `${name} in ${scheme}`);
    await picture(page, `${name}-${scheme}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  const back = await asPhone(page);
  await settled(page);
  await fits(page);
  await accessible(page, `${name} on a phone`);
  await picture(page, `${name}-phone`);
  await back();
}

/** Everything of a page in which a secret could be left: text, attributes, inputs, address, storage. */
export function everythingIn(page) {
  return page.evaluate(async () => {
    const inputs = [...document.querySelectorAll("input, textarea")].map(({ value }) => value);
    const caches = await globalThis.caches.keys();
    const databases = (await indexedDB.databases()).map(({ name }) => name);
    return [
      document.documentElement.outerHTML,
      ...inputs,
      location.href,
      JSON.stringify(history.state),
      JSON.stringify({ ...localStorage }),
      JSON.stringify({ ...sessionStorage }),
      document.cookie,
      name,
      ...caches,
      ...databases,
      ...performance.getEntries().map((entry) => entry.name),
    ].join("\n");
  });
}

/** Sends a completion through the router, as an application does. */
export async function complete(apiKey, { model = "policy/main", prompt = "hello" } = {}) {
  const response = await fetch(`${world.baseURL}/v1/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${apiKey}`, "Content-Type": "application/json" },
    body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: prompt }] }),
  });
  return { status: response.status, text: await response.text(), requestId: response.headers.get("x-request-id") };
}

/** Steps of one story: each is a test, and none is tried after one that failed. */
export function steps(t) {
  let broken = "";
  return (name, run) =>
    t.test(name, async () => {
      assert.equal(broken, "", "an earlier step failed");
      broken = name;
      await run();
      broken = "";
    });
}
