import { createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { RoutingService } from "@/gen/claviger/keys/v1/routing_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { renderPage } from "@/test/render";
import { GroupsPage } from "./GroupsPage";

function server() {
  const calls: unknown[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(GroupService, {
      listGroups: () => ({
        groups: [
          {
            id: "grp_1",
            name: "support",
            policyId: "pol_1",
            enforcePolicy: true,
            approvedModels: ["openai/*"],
            etag: "5",
          },
        ],
      }),
      createGroup({ name, policyId, enforcePolicy, approvedModels }) {
        calls.push(["create", name, policyId, enforcePolicy, approvedModels]);
        return {};
      },
      updateGroup({ id, etag, name, policyId, enforcePolicy, approvedModels }) {
        calls.push(["update", id, etag, name, policyId, enforcePolicy, approvedModels]);
        return {};
      },
      deleteGroup({ id }) {
        calls.push(["delete", id]);
        return {};
      },
    });
    service(ApiKeyService, {
      listApiKeys: () => ({ apiKeys: [{ id: "key_1", name: "shop", groupId: "grp_1" }] }),
    });
    service(RoutingService, {
      getRoutingPreferences: () => ({ preferences: { memberGroupId: "grp_1" }, etag: "1" }),
    });
    service(PolicyService, {
      listPolicies: () => ({
        policies: [
          {
            id: "pol_1",
            name: "main",
            version: 1n,
            spec: { groups: [{ when: { groupIds: ["grp_1"] }, targets: [{ model: "openai/gpt-4o" }] }] },
          },
        ],
      }),
    });
    service(CredentialService, {
      listCredentials: () => ({
        credentials: [
          { id: "cred_1", label: "Team key", scope: { groupIds: ["grp_1"] } },
          { id: "cred_2", label: "Spare" },
        ],
      }),
    });
  });
  return { transport, calls };
}

describe("groups", () => {
  test("are listed with their policy, models and how many API keys they have", async () => {
    const { transport } = server();
    await renderPage(<GroupsPage />, { transport });
    const row = await screen.findByRole("row", { name: /support/ });
    await within(row).findByText("main");
    expect(within(row).getByText("for every request")).toBeDefined();
    expect(within(row).getByText("openai/*")).toBeDefined();
    await within(row).findByText("1");
  });

  test("are created with a policy that holds for every request, and with models", async () => {
    const { transport, calls } = server();
    await renderPage(<GroupsPage />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Create a group" }));
    const dialog = within(await screen.findByRole("dialog"));
    await userEvent.click(dialog.getByRole("button", { name: "Create group" }));
    expect(dialog.getByText("Give it a name.")).toBeDefined();
    await userEvent.type(dialog.getByRole("textbox", { name: "Name" }), "search");
    await dialog.findByRole("option", { name: "main" });
    await userEvent.selectOptions(dialog.getByRole("combobox", { name: "Default policy" }), "main");
    await userEvent.click(dialog.getByRole("switch", { name: /^Use it for every request/ }));
    // What was not ended with Enter counts all the same.
    await userEvent.type(dialog.getByLabelText("Approved models", { selector: "input" }), "openai/* xai/*");
    await userEvent.click(dialog.getByRole("button", { name: "Create group" }));
    await waitFor(() => expect(calls).toEqual([["create", "search", "pol_1", true, ["openai/*", "xai/*"]]]));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  });

  test("are changed as a whole with the etag that was read", async () => {
    const { transport, calls } = server();
    await renderPage(<GroupsPage />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Edit support" }));
    const dialog = within(await screen.findByRole("dialog", { name: "Edit support" }));
    await userEvent.selectOptions(
      dialog.getByRole("combobox", { name: "Default policy" }),
      "The organization's",
    );
    await userEvent.click(dialog.getByRole("button", { name: "Save" }));
    await waitFor(() =>
      expect(calls).toEqual([["update", "grp_1", "5", "support", "", false, ["openai/*"]]]),
    );
  });

  test("are deleted after a question that names what still uses them", async () => {
    const { transport, calls } = server();
    await renderPage(<GroupsPage />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Delete support" }));
    const dialog = within(await screen.findByRole("dialog", { name: "Delete support" }));
    await dialog.findByText("API keys: shop");
    await dialog.findByText("Conditions of policies: main");
    await dialog.findByText("Scopes of credentials: Team key");
    await dialog.findByText("Routing: API keys that members create are in it");
    await userEvent.click(dialog.getByRole("button", { name: "Delete group" }));
    await waitFor(() => expect(calls).toEqual([["delete", "grp_1"]]));
  });

  test("are shown to those who may not change them without buttons", async () => {
    const { transport } = server();
    await renderPage(<GroupsPage />, { transport, role: Role.VIEWER });
    await screen.findByRole("row", { name: /support/ });
    expect(screen.queryByRole("button")).toBeNull();
  });
});
