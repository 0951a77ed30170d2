import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { type PreviewRouteRequest, RouteService } from "@/gen/claviger/keys/v1/route_pb";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { renderPage } from "@/test/render";
import { Preview } from "./PreviewPage";
import { type PreviewSearch, previewSearch } from "./search";

const whole = {
  router: "router 1a2b",
  moreCandidates: 0,
  moreExclusions: 812,
  route: {
    configVersion: 1234n,
    policy: "main",
    policyVersion: 7n,
    maxAttempts: 4,
    candidates: [
      {
        provider: "openai",
        model: "openai/gpt-4o-mini",
        credentialClass: CredentialClass.OWN,
        credentialId: "cred_1",
        credential: "Team key",
        line: 1,
        reason: "in the order of the lines",
        estimatedCostNanoUsd: 450_000n,
        latencyMicros: 230_000n,
        revision: 2,
      },
      {
        provider: "groq",
        model: "groq/llama",
        credentialClass: CredentialClass.PLATFORM,
        line: 2,
        reason: "in the order of the lines",
      },
    ],
    exclusions: [
      {
        provider: "openai",
        model: "openai/gpt-4o-mini",
        credentialClass: CredentialClass.OWN,
        credentialId: "cred_2",
        credential: "Spare",
        line: 1,
        reason: "COOLING_DOWN",
        description: "the credential rests after a 429",
      },
    ],
  },
};

function server(answer: object | ConnectError = whole, apiKeys = [{ id: "key_1", name: "shop" }]) {
  const asked: PreviewRouteRequest[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(RouteService, {
      previewRoute(request) {
        asked.push(request);
        if (answer instanceof ConnectError) throw answer;
        return answer;
      },
    });
    service(ApiKeyService, { listApiKeys: () => ({ apiKeys }) });
    service(PolicyService, {
      listPolicies: () => ({ policies: [{ id: "pol_1", name: "main", version: 1n }] }),
    });
    service(CredentialService, { listCredentials: () => ({ credentials: [] }) });
    service(PriceService, { listPrices: () => ({ prices: [{ model: "openai/gpt-4o-mini" }] }) });
  });
  return { transport, asked };
}

describe("what would serve", () => {
  test("is asked for an API key and with what stands in the form, which goes into the address", async () => {
    const { transport, asked } = server();
    const addresses: PreviewSearch[] = [];
    await renderPage(
      <Preview search={{ model: "policy/main" }} onSearch={(next) => addresses.push(next)} />,
      {
        transport,
      },
    );
    const button = await screen.findByRole("button", { name: "What would serve?" });
    await userEvent.click(button);
    await screen.findByText("Choose the API key that would call");
    await screen.findByRole("option", { name: "shop" });
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "API key" }), "shop");
    await userEvent.type(screen.getByLabelText("Size of the prompt"), "2000");
    await userEvent.type(screen.getByLabelText("Size of the answer"), "500");
    await userEvent.type(screen.getByLabelText("Tags", { selector: "input" }), "nonsense{Enter}");
    await screen.findByText("“nonsense” is no key=value");
    await userEvent.click(button);
    expect(addresses).toEqual([]);
    await userEvent.type(screen.getByLabelText("Tags", { selector: "input" }), "{Backspace}env=prod{Enter}");
    await userEvent.click(button);
    expect(addresses).toEqual([
      { key: "key_1", model: "policy/main", input: 2000, output: 500, tags: ["env=prod"] },
    ]);
    expect(asked).toEqual([]); // nothing is asked before somebody asks
  });

  test("is told with order, reasons, costs and credentials, and that nobody was called", async () => {
    const { transport, asked } = server();
    const search = previewSearch({ key: "key_1", model: "policy/main", input: 2000, tags: ["env=a=b"] });
    await renderPage(<Preview search={search} onSearch={() => {}} />, { transport });
    await screen.findByText("openai/gpt-4o-mini would serve");
    expect(asked[0]?.apiKeyId).toBe("key_1");
    expect(asked[0]?.request).toMatchObject({
      model: "policy/main",
      inputTokens: 2000n,
      tags: { env: "a=b" },
    });
    expect(screen.getByText("Nobody was called.")).toBeDefined();
    expect(screen.getByText("main, version 7")).toBeDefined();
    expect(screen.getByText("4 calls")).toBeDefined();
    const tried = within(screen.getByRole("table", { name: "Would be tried, in this order" }));
    const [, first, second] = tried.getAllByRole("row");
    const one = within(first as HTMLElement);
    expect(one.getByRole("link", { name: "Team key" })).toBeDefined();
    expect(one.getByText("secret 2")).toBeDefined();
    expect(one.getByText("$0.00045")).toBeDefined();
    expect(one.getByText("230 ms")).toBeDefined();
    expect(one.getByText("In the order of the lines")).toBeDefined();
    const two = within(second as HTMLElement);
    expect(two.getByText("Platform")).toBeDefined();
    expect(two.queryByRole("link")).toBeNull(); // the operator's credentials have no name here
    expect(two.getByText("Unknown")).toBeDefined(); // an unknown cost is not zero
    const not = within(screen.getByRole("table", { name: "Would not be tried" }));
    expect(not.getByText(/^The credential rests after a 429/)).toBeDefined();
    expect(not.getByText("COOLING_DOWN")).toBeDefined();
    expect(screen.getByText("812 more are left out.")).toBeDefined();
  });

  test("is asked again for the same address, since what is drawn is drawn anew", async () => {
    const { transport, asked } = server();
    await renderPage(<Preview search={{ key: "key_1" }} onSearch={() => {}} />, { transport });
    await screen.findByText("openai/gpt-4o-mini would serve");
    await userEvent.click(screen.getByRole("button", { name: "What would serve?" }));
    await waitFor(() => expect(asked).toHaveLength(2));
  });

  test("may be nobody, which is said before the reasons", async () => {
    const { transport } = server({
      router: "r",
      route: { configVersion: 1n, maxAttempts: 4, exclusions: whole.route.exclusions },
    });
    await renderPage(<Preview search={{ key: "key_1" }} onSearch={() => {}} />, { transport });
    await screen.findByText("Nobody would serve: the request would be refused");
    expect(screen.queryByRole("table", { name: "Would be tried, in this order" })).toBeNull();
    expect(screen.getByText("COOLING_DOWN")).toBeDefined();
  });

  test("that cannot be planned says why, and can be asked again", async () => {
    const { transport, asked } = server(new ConnectError("no router is connected", Code.Unavailable));
    await renderPage(<Preview search={{ key: "key_1" }} onSearch={() => {}} />, { transport });
    await screen.findByText("No route could be planned");
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    await waitFor(() => expect(asked).toHaveLength(2));
  });

  test("needs an API key, and says so where there is none", async () => {
    const { transport } = server(whole, []);
    await renderPage(<Preview search={{}} onSearch={() => {}} />, { transport });
    await screen.findByText("There is no API key yet");
  });
});

describe("the address", () => {
  test("says what can be asked, and nothing else", () => {
    expect(
      previewSearch({
        key: "key_1",
        model: 7,
        operation: "songs",
        input: -1,
        output: 2.5,
        tags: ["env=prod", "nonsense", 3, `${"k".repeat(65)}=v`],
        session: "s",
        token: "secret",
      }),
    ).toEqual({ key: "key_1", tags: ["env=prod"], session: "s" });
  });
});
