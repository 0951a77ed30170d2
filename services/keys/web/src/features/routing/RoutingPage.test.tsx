import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import {
  ModelService,
  PlatformRule,
  type RoutingPreferences,
  RoutingPreferencesSchema,
  RoutingService,
} from "@/gen/claviger/keys/v1/routing_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { ErrorInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { renderPage } from "@/test/render";
import { messageOf, moved, preferencesOf } from "./preferences";
import { RoutingPage } from "./RoutingPage";

function stale() {
  return new ConnectError("the preferences have changed", Code.Aborted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: "ETAG_MISMATCH" } },
  ]);
}

function server({ groups = ["support", "research"] } = {}) {
  const calls: string[] = [];
  const memberGroups: string[] = [];
  let etag = 1;
  let preferences: RoutingPreferences = create(RoutingPreferencesSchema, {
    order: ["anthropic", "openai"],
    providers: [{ provider: "groq", platform: PlatformRule.NEVER }],
    policyId: "pol_1",
    memberGroupId: groups.length > 0 ? "grp_1" : "",
  });
  let approved = { approvedModels: ["openai/*"], etag: "1" };
  const transport = createRouterTransport(({ service }) => {
    service(RoutingService, {
      getRoutingPreferences: () => ({ preferences, etag: String(etag) }),
      updateRoutingPreferences(request) {
        if (request.etag !== String(etag)) throw stale();
        const { order, ignore, providers, platform, policyId, enforcePolicy } =
          request.preferences ?? preferences;
        const rules = providers.map(({ provider, platform: rule }) => `${provider}=${PlatformRule[rule]}`);
        calls.push(
          `${etag}: order ${order}; ignore ${ignore}; ${rules}; rest ${PlatformRule[platform]}; ${policyId} ${enforcePolicy}`,
        );
        memberGroups.push(request.preferences?.memberGroupId ?? "");
        etag += 1;
        preferences = request.preferences ?? preferences;
        return { preferences, etag: String(etag) };
      },
    });
    service(ModelService, {
      getApprovedModels: () => approved,
      updateApprovedModels({ approvedModels }) {
        calls.push(`approve ${approvedModels}`);
        approved = { approvedModels, etag: "2" };
        return approved;
      },
    });
    service(GroupService, {
      listGroups: () => ({ groups: groups.map((name, at) => ({ id: `grp_${at + 1}`, name })) }),
    });
    service(PolicyService, {
      listPolicies: () => ({
        policies: [
          { id: "pol_1", name: "main", version: 3n },
          { id: "pol_2", name: "careful", version: 1n },
          { id: "pol_3", name: "only a draft" },
        ],
      }),
    });
  });
  return {
    transport,
    calls,
    memberGroups,
    /** Somebody else forbids the platform's keys. */
    overtake: () => {
      etag = 70;
      preferences = create(RoutingPreferencesSchema, { platform: PlatformRule.NEVER });
    },
  };
}

const button = (name: string) => screen.getByRole("button", { name });
const save = () => button("Save preferences");

describe("the preferences", () => {
  test("come back from the page as they were", () => {
    const before = create(RoutingPreferencesSchema, {
      order: ["openai"],
      ignore: ["xai"],
      providers: [{ provider: "groq", platform: PlatformRule.AFTER_OWN }],
      platform: PlatformRule.BEFORE_OWN,
      policyId: "pol_1",
      enforcePolicy: true,
      memberGroupId: "grp_1",
    });
    expect(messageOf(preferencesOf(before))).toEqual(before);
    // Nothing is enforced where no policy is named.
    expect(messageOf({ ...preferencesOf(before), policyId: "" }).enforcePolicy).toBe(false);
    expect(moved(["a", "b", "c"], 2, -1)).toEqual(["a", "c", "b"]);
  });

  test("are changed as a whole, with the words of each rule beside it", async () => {
    const { transport, calls } = server();
    await renderPage(<RoutingPage />, { transport });
    await screen.findByText(
      "Without a policy, the operator's keys serve first. Policies say for themselves.",
    );
    expect(screen.getByRole("radio", { name: "Only where a policy says so" })).toHaveProperty(
      "checked",
      true,
    );
    expect(save()).toHaveProperty("disabled", true);
    await userEvent.click(screen.getByRole("radio", { name: "Never" }));
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Rule for Groq" }), "After your own");
    await userEvent.selectOptions(
      screen.getByRole("combobox", { name: "Add a rule for a provider" }),
      "Mistral",
    );
    await userEvent.click(button("Move OpenAI up"));
    expect(screen.getByText("OpenAI is number 1 of 2")).toBeDefined();
    await userEvent.click(button("Take Anthropic out of the order"));
    const policies = screen.getByRole("combobox", { name: "Policy" });
    await within(policies).findByRole("option", { name: "careful" });
    expect(within(policies).queryByRole("option", { name: "only a draft" })).toBeNull();
    await userEvent.selectOptions(policies, "careful");
    await userEvent.click(screen.getByRole("switch", { name: /^Use it for every request/ }));
    await userEvent.click(save());
    await waitFor(() =>
      expect(calls).toEqual([
        "1: order openai; ignore ; groq=AFTER_OWN,mistral=NEVER; rest NEVER; pol_2 true",
      ]),
    );
    await waitFor(() => expect(save()).toHaveProperty("disabled", true));
    expect(screen.getByRole("radio", { name: "Never" })).toHaveProperty("checked", true);
  });

  test("that somebody else saved meanwhile are not lost, nor one's own", async () => {
    const { transport, calls, overtake } = server();
    await renderPage(<RoutingPage />, { transport });
    await userEvent.click(await screen.findByRole("radio", { name: "Before your own" }));
    overtake();
    await userEvent.click(save());
    await screen.findByText("Somebody else changed this while you were editing");
    expect(calls).toEqual([]);
    expect(screen.getByRole("radio", { name: "Before your own" })).toHaveProperty("checked", true);
    await userEvent.click(button("Take theirs"));
    expect(screen.getByRole("radio", { name: "Never" })).toHaveProperty("checked", true);
    await userEvent.click(screen.getByRole("radio", { name: "After your own" }));
    await userEvent.click(save());
    await waitFor(() => expect(calls).toEqual(["70: order ; ignore ; ; rest AFTER_OWN;  false"]));
  });

  test("say which group API keys of members are in, or none", async () => {
    const { transport, memberGroups } = server();
    await renderPage(<RoutingPage />, { transport });
    const group = await screen.findByRole("combobox", { name: "Group" });
    await within(group).findByRole("option", { name: "research" });
    expect(group).toHaveProperty("value", "grp_1");
    await userEvent.selectOptions(group, "research");
    await userEvent.click(save());
    await waitFor(() => expect(memberGroups).toEqual(["grp_2"]));
    await waitFor(() => expect(save()).toHaveProperty("disabled", true));
    await userEvent.selectOptions(group, "None: approved models bind them");
    await userEvent.click(save());
    await waitFor(() => expect(memberGroups).toEqual(["grp_2", ""]));
  });

  test("say where groups are made while there is none to choose", async () => {
    const { transport } = server({ groups: [] });
    await renderPage(<RoutingPage />, { transport });
    await screen.findByText("There are no groups yet. Create one on the page Groups first.");
  });

  test("are for admins to read, who approve models", async () => {
    const { transport, calls } = server();
    await renderPage(<RoutingPage />, { transport, role: Role.ADMIN });
    await screen.findByText(/Only an owner can change whose keys are used/);
    expect(screen.queryByRole("button", { name: "Save preferences" })).toBeNull();
    expect(screen.queryByRole("combobox", { name: /Rule for|Add a rule|Group/ })).toBeNull();
    await screen.findByText("support");
    await userEvent.type(
      await screen.findByLabelText("Patterns", { selector: "input" }),
      "anthropic/claude*{Enter}",
    );
    await userEvent.click(button("Save approved models"));
    await waitFor(() => expect(calls).toEqual(["approve openai/*,anthropic/claude*"]));
  });

  test("are shown to viewers, who change nothing", async () => {
    const { transport } = server();
    await renderPage(<RoutingPage />, { transport, role: Role.VIEWER });
    await screen.findByText("openai/*");
    await screen.findByText("main");
    expect(screen.queryByRole("button")).toBeNull();
    expect(screen.getByText("Groq")).toBeDefined();
  });
});
