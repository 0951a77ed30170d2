// What strangers try: forms on other sites, names that are scripts, and looking for what was left behind.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { everythingIn, settled, shared, signInByForm, withPage, world } from "./rig.mjs";

const procedures = {
  SignIn: "/claviger.keys.v1.SessionService/SignIn",
  RefreshSession: "/claviger.keys.v1.SessionService/RefreshSession",
  CreateCredential: "/claviger.keys.v1.CredentialService/CreateCredential",
};

describe("another site", () => {
  let site;
  before(async () => {
    // On another port of the same machine: another origin, to which browsers send the same cookies.
    site = createServer((_, response) => {
      response.setHeader("Content-Type", "text/html");
      response.end("<!doctype html><title>Another site</title>");
    });
    await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  });
  after(() => site.close());

  for (const [name, path] of Object.entries(procedures)) {
    test(`cannot post to ${name}`, () =>
      withPage({ as: "acme owner", expected: [/CORS policy/, /net::ERR_FAILED/, /status of 4\d\d/] }, async (page, context) => {
        const answers = [];
        page.on("response", (response) => {
          if (response.url().endsWith(path)) answers.push(response);
        });
        await page.goto(`http://127.0.0.1:${site.address().port}/`);
        assert.ok((await context.cookies(world.baseURL)).some(({ name }) => name.startsWith("__Host-sid.")), "nobody is signed in");
        const body = JSON.stringify({ organization: "acme", email: "owner@acme.example", password: "a password for the owner", cookie: true });
        const tried = await page.evaluate(
          async ([target, text]) => {
            const results = {};
            for (const [way, options] of Object.entries({
              "fetch with credentials": { headers: { "Content-Type": "application/json" }, mode: "cors" },
              "fetch without asking first": { headers: { "Content-Type": "text/plain" }, mode: "no-cors" },
            })) {
              try {
                const response = await fetch(target, { method: "POST", credentials: "include", body: text, ...options });
                results[way] = `${response.type} ${response.status}`;
              } catch (error) {
                results[way] = String(error);
              }
            }
            return results;
          },
          [world.baseURL + path, body],
        );
        assert.match(tried["fetch with credentials"], /TypeError/);
        assert.equal(tried["fetch without asking first"], "opaque 0");
        const posted = answers.filter((response) => response.request().method() === "POST");
        assert.ok(posted.length > 0, "no post arrived at all");
        for (const response of posted) assert.equal(response.status(), 403, `${response.request().method()} was answered`);
        // A form needs nobody's leave to be sent.
        const [response] = await Promise.all([
          page.waitForResponse((each) => each.url() === world.baseURL + path),
          page.evaluate(
            ([target, text]) => {
              const form = document.createElement("form");
              form.method = "post";
              form.action = target;
              form.enctype = "text/plain";
              const [before, behind] = [text.slice(0, 1), text.slice(1)];
              const field = document.createElement("input");
              field.name = `${before}"x":"`;
              field.value = `",${behind}`;
              form.append(field);
              document.body.append(form);
              form.submit();
            },
            [world.baseURL + path, body],
          ),
        ]);
        assert.equal(response.status(), 403);
        assert.equal(await response.headerValue("set-cookie"), null);
      }));
  }

  test("cannot put the admin into a frame", () =>
    withPage({ expected: [/frame-ancestors/, /Framing/, /CSP: frame-ancestors/] }, async (page) => {
      await page.goto(`http://127.0.0.1:${site.address().port}/`);
      await page.evaluate((address) => {
        const frame = document.createElement("iframe");
        frame.src = address;
        document.body.append(frame);
        return new Promise((resolve) => frame.addEventListener("load", resolve));
      }, `${world.baseURL}/sign-in`);
      assert.equal(await page.frames()[1].locator("form").count(), 0);
    }));
});

describe("texts that would like to be scripts", () => {
  let profile;
  before(async () => {
    profile = await shared({ as: "hostile owner" });
  });
  after(() => profile.context.close());
  for (const path of ["", "/bring-a-key", "/credentials", "/policies", "/routing", "/groups", "/api-keys", "/usage", "/usage?by=tag&tag=team", "/requests", "/members", "/account"]) {
    test(`stay texts on ${path || "the overview"}`, async () => {
      const page = await profile.context.newPage();
      await page.goto(`/o/hostile${path}`);
      await settled(page);
      assert.equal(await page.evaluate(() => document.querySelectorAll('img[src="x"], svg[onload], [onerror]').length), 0);
      assert.equal(await page.evaluate(() => globalThis.__xss), undefined);
      const links = await page.getByRole("link").evaluateAll((nodes) => nodes.map((node) => node.getAttribute("href") ?? ""));
      assert.ok(links.length > 0, "no link was looked at");
      for (const link of links) assert.doesNotMatch(link, /^\s*javascript:/i);
      await profile.check();
      await page.close();
    });
  }

  test("stay texts in dialogs, menus and the palette", () =>
    withPage({ as: "hostile owner" }, async (page) => {
      await page.goto("/o/hostile/credentials");
      await settled(page);
      await page.getByRole("main").getByText("<img src=x onerror").first().waitFor();
      await page.getByRole("button", { name: /^Change <img/ }).first().click();
      await page.getByRole("menuitem", { name: "Remove" }).click();
      await page.getByRole("dialog").getByText("<img src=x").first().waitFor();
      await page.keyboard.press("Escape");
      await page.goto("/o/hostile/api-keys");
      await settled(page);
      await page.getByRole("main").getByText("javascript:globalThis.__xss=1").first().waitFor();
      await page.keyboard.press("Control+k");
      await page.getByPlaceholder("Search pages and actions").fill("<img src=x onerror=globalThis.__xss=1>");
      await page.getByText("Nothing found").waitFor();
      assert.equal(await page.evaluate(() => globalThis.__xss), undefined);
    }));

  test("do nothing in the address either", () =>
    withPage({ as: "acme owner", expected: [/status of 404/] }, async (page) => {
      for (const path of ["/usage?by=%3Cimg+src%3Dx+onerror%3D__xss%3D1%3E", "/api-keys?create=javascript:__xss=1", "/policies/%3Cscript%3E__xss=1%3C%2Fscript%3E"]) {
        await page.goto(`/o/acme${path}`, { waitUntil: "networkidle" });
      }
      assert.equal(await page.evaluate(() => globalThis.__xss), undefined);
    }));

  test("do not lead away after signing in", () =>
    withPage({}, async (page) => {
      await page.goto(`/sign-in?org=acme&to=${encodeURIComponent("//evil.example/o/acme")}`);
      await signInByForm(page, "acme owner");
      assert.equal(new URL(page.url()).origin, world.baseURL);
    }));
});

describe("signing out", () => {
  test("ends the session at the server, in other tabs, and behind the back button", () =>
    withPage({ expected: [/status of 401/] }, async (page, context) => {
      await page.goto("/sign-in");
      await signInByForm(page, "acme viewer");
      await page.getByRole("link", { name: "Members" }).click();
      await page.getByText("owner@acme.example").first().waitFor();
      const other = await context.newPage();
      await other.goto("/o/acme/credentials");
      await other.getByRole("heading", { level: 1, name: "Credentials" }).waitFor();
      const cookie = (await context.cookies()).find(({ name }) => name === "__Host-sid.acme");
      assert.ok(cookie?.httpOnly && cookie.secure && cookie.sameSite === "Lax", JSON.stringify({ ...cookie, value: "" }));

      await page.getByRole("button", { name: /^Account of/ }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      await page.getByText("You are signed out.").waitFor();
      await other.waitForURL("**/sign-in*");
      assert.equal((await context.cookies()).length, 0);

      await page.goBack();
      await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
      assert.ok(!(await everythingIn(page)).includes("admin@acme.example"), "members are still shown");
      // Whoever kept the cookie has nothing.
      await context.addCookies([cookie]);
      await page.goto("/o/acme/members");
      await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    }));
});

describe("the watch over all pages", () => {
  const ways = {
    "a style in the page": ["CSP: style-src", () => document.head.append(Object.assign(document.createElement("style"), { textContent: "p{}" }))],
    "text that becomes markup": ["CSP: require-trusted-types-for", () => {
      try {
        document.createElement("p").innerHTML = "<b>x</b>";
      } catch {
        // the policy stops it, and tells
      }
    }],
    "a picture from elsewhere": ["CSP: img-src", () => new Promise((resolve) => {
      const image = new Image();
      image.onerror = resolve;
      image.src = "https://elsewhere.example/x.png";
    })],
    "a script of a stranger": ["a script of a stranger ran", () => {
      globalThis.__xss = 1;
    }],
    "an error in the console": ["console: oh", () => console.error("oh")],
    "an exception": ["exception: Error: oh", () => void setTimeout(() => {
      throw new Error("oh");
    })],
  };
  for (const [name, [told, act]] of Object.entries(ways)) {
    test(`sees ${name}`, () =>
      assert.rejects(
        withPage({}, async (page) => {
          await page.goto("/sign-in");
          await settled(page);
          await page.evaluate(act);
          await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
        }),
        (error) => error.actual?.some((problem) => problem.startsWith(told)),
      ));
  }
});
