// Pictures and videos: what is not billed by tokens, and is known only after the request.
import assert from "node:assert/strict";
import { test } from "node:test";
import { looksRight, settled, withPage, world } from "./rig.mjs";

const as = "studio owner";

async function call(method, path, body) {
  const response = await fetch(world.baseURL + path, {
    method,
    headers: { Authorization: `Bearer ${world.apiKeys.studio}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

test("a video that is under way becomes, in its row, what it took", () =>
  withPage({ as }, async (page) => {
    await page.goto("/o/studio/requests");
    await page.getByText("Live", { exact: true }).waitFor();
    const { id } = await call("POST", "/v1/videos", {
      model: "fal/minimax/h3-max/text-to-video",
      prompt: "script:polls=1000000 a red kite",
      seconds: "5",
    });
    const row = page.getByRole("row", { name: /minimax/ });
    await row.getByText("Under way").waitFor();
    await row.getByText("Unknown").waitFor();
    const rows = await page.getByRole("row").count();
    await call("DELETE", `/v1/videos/${id}`);
    await row.getByText("Caller left").waitFor();
    assert.equal(await page.getByRole("row").count(), rows, "a later truth got a row of its own");
  }));

test("a request tells how much of what was made, and who says what it cost", () =>
  withPage({ as }, async (page) => {
    await page.goto("/o/studio/requests");
    const film = page.getByRole("row", { name: /kling/ });
    await film.getByText(/60 credits/).first().waitFor();
    await film.getByText("$3.00").waitFor();
    await film.getByRole("link").click();
    await page.getByText(/^A later truth/).waitFor();
    await page.getByText("What the provider says").waitFor();
    await page.getByText("60 credits").first().waitFor();
    await settled(page);
    await looksRight(page, "request-video");
    await page.goBack();
    const pictures = page.getByRole("row", { name: /flux/ });
    await pictures.getByText("2 images").waitFor();
    await pictures.getByRole("link").click();
    await page.getByText("By the price book").waitFor();
    await settled(page);
    await looksRight(page, "request-images");
  }));

test("usage sums up units, and what providers say", () =>
  withPage({ as }, async (page) => {
    await page.goto("/o/studio/usage");
    await page.getByText(/^Besides tokens: 2 images.*60 credits/).waitFor();
    await page.getByText("$3.00 of the cost is what providers say themselves").waitFor();
    await page.getByRole("row", { name: /kling/ }).getByText(/60 credits/).first().waitFor();
    await settled(page);
    await looksRight(page, "usage-units");
  }));
