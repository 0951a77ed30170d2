import { createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { CreateApiKey } from "@/features/apikeys/CreateApiKey";
import { EditGroup } from "@/features/groups/EditGroup";
import { useChoices } from "@/features/policies/useChoices";
import { PreviewForm } from "@/features/preview/PreviewForm";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { renderPage } from "@/test/render";
import { useObjectNames } from "./useObjectNames";

const number = (n: number) => String(n).padStart(3, "0");

// Three hundred of each, and pages of fifty however many are asked for: those of policies end early, too.
function server() {
  const asked: string[] = [];
  const created: unknown[] = [];
  const list =
    <T,>(what: string, of: (n: number) => T) =>
    ({ pageToken }: { pageToken: string }) => {
      asked.push(what);
      const from = Number(pageToken || "0");
      return {
        [what]: Array.from({ length: 50 }, (_, index) => of(from + index)),
        nextPageToken: from + 50 < 300 ? String(from + 50) : "",
      };
    };
  const transport = createRouterTransport(({ service }) => {
    service(PolicyService, {
      listPolicies: list("policies", (n) => ({ id: `pol_${n}`, name: `policy-${number(n)}`, version: 1n })),
    });
    service(ApiKeyService, {
      listApiKeys: list("apiKeys", (n) => ({ id: `key_${n}`, name: `service ${number(n)}` })),
      createApiKey({ policyId, groupId }) {
        created.push([policyId, groupId]);
        return { secret: "clv_live_x", apiKey: { id: "key_new", name: "shop" } };
      },
    });
    service(GroupService, {
      listGroups: list("groups", (n) => ({ id: `grp_${n}`, name: `team ${number(n)}` })),
      createGroup({ policyId }) {
        created.push(policyId);
        return {};
      },
    });
    service(CredentialService, {
      listCredentials: list("credentials", (n) => ({
        id: `cred_${n}`,
        label: `account ${number(n)}`,
        provider: n === 299 ? "groq" : "openai",
      })),
    });
    service(PriceService, {
      listPrices: list("prices", (n) => ({ model: `openai/model-${number(n)}` })),
    });
  });
  return { transport, asked, created };
}

function All({ seen }: { seen: Record<string, string | undefined> }) {
  const choices = useChoices("policy-000");
  const names = useObjectNames();
  seen["models"] = choices.models("own").at(-1);
  seen["policies"] = choices.policies.at(-1);
  seen["credentials"] = choices.credentials.at(-1)?.name;
  seen["apiKeys"] = choices.apiKeys.at(-1)?.name;
  seen["groups"] = choices.groups.at(-1)?.name;
  seen["named"] = names.apiKey("key_299");
  seen["groq"] = String(choices.hasCredential("groq"));
  return null;
}

async function choose(within_: ReturnType<typeof within>, label: string, text: string) {
  const field = await within_.findByRole("combobox", { name: label });
  await waitFor(() => expect(field.tagName).toBe("INPUT")); // a long list can be searched
  await userEvent.clear(field);
  await userEvent.type(field, text);
  await userEvent.click(await screen.findByText(text));
}

describe("what there is to choose from", () => {
  test("is every policy and group, though lists come in pages", async () => {
    const { transport, created } = server();
    await renderPage(<CreateApiKey onClose={() => {}} />, { transport });
    const dialog = within(await screen.findByRole("dialog"));
    await userEvent.type(dialog.getByRole("textbox", { name: "Name" }), "shop");
    await choose(dialog, "Default policy", "policy-299");
    await choose(dialog, "Group", "team 298");
    await userEvent.click(dialog.getByRole("button", { name: "Create API key" }));
    await waitFor(() => expect(created).toEqual([["pol_299", "grp_298"]]));
  });

  test("is every policy for a group", async () => {
    const { transport, created } = server();
    await renderPage(<EditGroup onClose={() => {}} />, { transport });
    const dialog = within(await screen.findByRole("dialog"));
    await userEvent.type(dialog.getByRole("textbox", { name: "Name" }), "support");
    await choose(dialog, "Default policy", "policy-271");
    await userEvent.click(dialog.getByRole("button", { name: "Create group" }));
    await waitFor(() => expect(created).toEqual(["pol_271"]));
  });

  test("is every API key, policy, model and credential for the rest, each page asked for once", async () => {
    const { transport, asked } = server();
    const seen: Record<string, string | undefined> = {};
    await renderPage(<All seen={seen} />, { transport });
    await waitFor(() =>
      expect(seen).toEqual({
        models: "openai/model-299",
        policies: "policy/policy-299",
        credentials: "account 299",
        apiKeys: "service 299",
        groups: "team 299",
        named: "service 299",
        groq: "true",
      }),
    );
    for (const what of ["policies", "apiKeys", "groups", "credentials", "prices"]) {
      expect(asked.filter((each) => each === what)).toHaveLength(6);
    }
  });

  test("keeps what an address names, though it cannot be seen", async () => {
    const { transport } = server();
    await renderPage(
      <PreviewForm
        search={{ key: "key_gone" }}
        apiKeys={[{ id: "key_1", name: "shop" }]}
        moreApiKeys={false}
        busy={false}
        onAsk={() => {}}
      />,
      { transport },
    );
    expect(((await screen.findByRole("combobox", { name: "API key" })) as HTMLSelectElement).value).toBe(
      "key_gone",
    );
  });
});
