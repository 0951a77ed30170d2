import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { describe, expect, test } from "vitest";
import {
  type ApiKey,
  ApiKeySchema,
  ApiKeyService,
  type CreateApiKeyRequest,
  ProvenanceLevel,
  type UpdateApiKeyRequest,
} from "@/gen/claviger/keys/v1/api_key_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { ErrorInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { renderPage } from "@/test/render";
import { ApiKeysView } from "./ApiKeysPage";
import type { ApiKeysSearch } from "./search";
import { stateOf } from "./state";

const secret = "clv_live_AbCdEfGhIj_kLmNoPqRsTuVwXyZ0123456789";
const day = 86_400_000;

function key(
  id: string,
  name: string,
  more: Partial<Pick<ApiKey, "memberId" | "policyId" | "expireTime" | "revokeTime" | "suspended">> = {},
) {
  return create(ApiKeySchema, {
    id,
    name,
    display: `clv_live_${id}`,
    etag: "3",
    memberId: "mem_1",
    createTime: timestampFromMs(Date.now() - day),
    ...more,
  });
}

function server({ lost = false, metering = true } = {}) {
  const calls = {
    created: [] as CreateApiKeyRequest[],
    revoked: [] as string[],
    updated: [] as UpdateApiKeyRequest[],
  };
  const keys = [
    key("key_app", "app", { policyId: "pol_main" }),
    key("key_soon", "nightly", { expireTime: timestampFromMs(Date.now() + 2 * day) }),
    key("key_old", "old laptop", { revokeTime: timestampFromMs(Date.now() - 1000) }),
    key("key_theirs", "theirs", { memberId: "mem_2" }),
    key("key_away", "on leave", {
      memberId: "mem_3",
      suspended: true,
      expireTime: timestampFromMs(Date.now() + 2 * day),
    }),
  ];
  const transport = createRouterTransport(({ service }) => {
    service(ApiKeyService, {
      listApiKeys: () => ({ apiKeys: keys }),
      createApiKey(request) {
        calls.created.push(request);
        if (lost) {
          throw new ConnectError("shown before", Code.FailedPrecondition, undefined, [
            { desc: ErrorInfoSchema, value: { reason: "SECRET_ALREADY_SHOWN" } },
          ]);
        }
        if (request.name === "app") {
          throw new ConnectError("an API key with this name exists already", Code.AlreadyExists, undefined, [
            { desc: ErrorInfoSchema, value: { reason: "API_KEY_EXISTS" } },
          ]);
        }
        return { apiKey: key("key_new", request.name), secret };
      },
      updateApiKey(request) {
        calls.updated.push(request);
        return {};
      },
      revokeApiKey({ id, cutStreams }) {
        calls.revoked.push(cutStreams ? `${id} and cut` : id);
        return { receipt: { connected: 2, confirmed: 2, elapsed: { seconds: 0n, nanos: 40_000_000 } } };
      },
    });
    service(GroupService, { listGroups: () => ({ groups: [{ id: "grp_1", name: "support" }] }) });
    service(PolicyService, {
      listPolicies: () => ({ policies: [{ id: "pol_main", name: "main", version: 1n }] }),
    });
    if (metering) {
      service(UsageService, {
        listLastUses: () => ({
          lastUses: [{ id: "key_app", lastTime: timestampFromMs(Date.now() - 3 * 60_000) }],
        }),
      });
    }
  });
  return { transport, calls };
}

function Harness({ first = {} }: { first?: ApiKeysSearch }) {
  const [search, setSearch] = useState<ApiKeysSearch>(first);
  return <ApiKeysView search={search} onSearch={(part) => setSearch((before) => ({ ...before, ...part }))} />;
}

const rowOf = async (name: string) => screen.findByRole("row", { name: new RegExp(name) });

describe("API keys", () => {
  test("say what they may be used for and when they were", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    const app = await rowOf("app");
    expect(within(app).getByText("Active")).toBeDefined();
    await within(app).findByText("main");
    await within(app).findByText("3 minutes ago");
    expect(within(app).getByText("clv_live_key_app…")).toBeDefined();
    const nightly = await rowOf("nightly");
    expect(within(nightly).getByText("Expires soon")).toBeDefined();
    await within(nightly).findByText("Never");
  });

  test("of a disabled member are suspended, with the reason, and stay in the list", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    const away = await rowOf("on leave");
    expect(within(away).getByText("Suspended")).toBeDefined();
    expect(within(away).getByText("Its owner is disabled")).toBeDefined();
    // What cannot be given back comes first.
    const over = timestampFromMs(Date.now() - 1000);
    expect(stateOf(key("a", "a", { suspended: true, expireTime: over }), Date.now())).toBe("expired");
    expect(stateOf(key("a", "a", { suspended: true, revokeTime: over }), Date.now())).toBe("revoked");
  });

  test("work without metering: the last use is not known, everything else is", async () => {
    const { transport } = server({ metering: false });
    await renderPage(<Harness />, { transport });
    await within(await rowOf("app")).findByText("Not available right now");
  });

  test("that have ended are shown on demand", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    await rowOf("app");
    expect(screen.queryByText("old laptop")).toBeNull();
    await userEvent.click(screen.getByRole("switch", { name: "Show revoked and expired" }));
    expect(within(await rowOf("old laptop")).getByText("Revoked")).toBeDefined();
  });

  test("get another group and policy, which can hold for every request", async () => {
    const { transport, calls } = server();
    await renderPage(<Harness />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Actions for app" }));
    await userEvent.click(await screen.findByRole("menuitem", { name: "Edit" }));
    const dialog = within(await screen.findByRole("dialog", { name: "Edit app" }));
    await dialog.findByRole("option", { name: "support" });
    await userEvent.selectOptions(dialog.getByRole("combobox", { name: "Group" }), "support");
    await userEvent.click(dialog.getByRole("switch", { name: /^Use it for every request/ }));
    await userEvent.click(dialog.getByRole("radio", { name: /^Full/ }));
    await userEvent.click(dialog.getByRole("button", { name: "Save" }));
    await waitFor(() => expect(calls.updated).toHaveLength(1));
    expect(calls.updated[0]).toMatchObject({
      id: "key_app",
      etag: "3",
      name: "app",
      policyId: "pol_main",
      enforcePolicy: true,
      groupId: "grp_1",
      provenance: ProvenanceLevel.FULL,
      clearExpireTime: false,
    });
  });

  test("of one's own get another name from a member, and nothing that an admin decides", async () => {
    const { transport, calls } = server();
    await renderPage(<Harness />, { transport, role: Role.MEMBER });
    await userEvent.click(await screen.findByRole("button", { name: "Actions for app" }));
    await userEvent.click(await screen.findByRole("menuitem", { name: "Edit" }));
    const dialog = within(await screen.findByRole("dialog", { name: "Edit app" }));
    expect(dialog.queryByRole("combobox")).toBeNull();
    expect(dialog.queryByRole("switch")).toBeNull();
    await userEvent.type(dialog.getByRole("textbox", { name: "Name" }), " 2");
    await userEvent.click(dialog.getByRole("button", { name: "Save" }));
    await waitFor(() => expect(calls.updated).toHaveLength(1));
    expect(calls.updated[0]?.name).toBe("app 2");
    expect(calls.updated[0]?.policyId).toBeUndefined();
    expect(calls.updated[0]?.groupId).toBeUndefined();
  });

  test("are revoked after a question, and only by whom they belong to", async () => {
    const { transport, calls } = server();
    await renderPage(<Harness />, { transport, role: Role.MEMBER });
    await userEvent.click(await screen.findByRole("button", { name: "Actions for theirs" }));
    await screen.findByRole("menuitem", { name: "How to use it" });
    expect(screen.queryByRole("menuitem", { name: "Revoke" })).toBeNull();
    await userEvent.keyboard("{Escape}");

    await userEvent.click(screen.getByRole("button", { name: "Actions for app" }));
    await userEvent.click(await screen.findByRole("menuitem", { name: "Revoke" }));
    const dialog = await screen.findByRole("dialog", { name: "Revoke app" });
    expect(calls.revoked).toEqual([]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Revoke API key" }));
    await screen.findByText("2 of 2 routers confirmed in 0.04 s");
    expect(calls.revoked).toEqual(["key_app"]);
    await userEvent.click(screen.getByRole("button", { name: "Done" }));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  });

  test("are not created by viewers", async () => {
    const { transport } = server();
    await renderPage(<Harness first={{ create: true }} />, { transport, role: Role.VIEWER });
    await rowOf("app");
    expect(screen.queryByRole("button", { name: "Create an API key" })).toBeNull();
    expect(screen.queryByRole("dialog")).toBeNull();
  });
});

describe("a new API key", () => {
  test("is shown once, and afterwards it is nowhere", async () => {
    const { transport, calls } = server();
    const { queries, router, baseElement } = await renderPage(<Harness first={{ create: true }} />, {
      transport,
    });
    const user = userEvent.setup();
    await user.type(await screen.findByRole("textbox", { name: "Name" }), "shop");
    await user.click(screen.getByRole("button", { name: "Create API key" }));

    const field = await screen.findByRole<HTMLInputElement>("textbox", { name: "API key" });
    expect(field.value).toBe(secret);
    // It is in that field, and not in the lines to paste, which would spread it.
    expect(baseElement.innerHTML.split(secret)).toHaveLength(2);
    expect(fibersHold(baseElement, secret)).toBe(true); // so that the same look below means something
    await user.keyboard("{Escape}"); // a slip does not lose it
    expect(field.isConnected).toBe(true);
    await user.click(screen.getByRole("button", { name: "Copy the key" }));
    expect(await navigator.clipboard.readText()).toBe(secret);
    await navigator.clipboard.writeText("");

    await user.click(screen.getByRole("button", { name: "I have copied it" }));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
    const kept = JSON.stringify(
      [
        queries
          .getQueryCache()
          .getAll()
          .map(({ state, queryKey }) => [state, queryKey]),
        queries
          .getMutationCache()
          .getAll()
          .map(({ state }) => state),
        { ...localStorage },
        { ...sessionStorage },
        router.state.location,
        window.location.href,
        history.state,
        document.cookie,
        document.title,
      ],
      (_, value) => (typeof value === "bigint" ? String(value) : value),
    );
    expect(kept).not.toContain(secret);
    expect(kept).toContain("nightly"); // the list was read, so that this looked at something
    expect(document.documentElement.outerHTML).not.toContain(secret);
    expect(fibersHold(baseElement, secret)).toBe(false);
    expect(calls.created).toHaveLength(1);
  });

  test("expires in 90 days and tells callers the basics, if nobody says otherwise", async () => {
    const { transport, calls } = server();
    await renderPage(<Harness first={{ create: true }} />, { transport });
    await userEvent.type(await screen.findByRole("textbox", { name: "Name" }), "shop");
    await userEvent.click(screen.getByRole("button", { name: "Create API key" }));
    await waitFor(() => expect(calls.created).toHaveLength(1));
    const [sent] = calls.created;
    expect(sent?.provenance).toBe(ProvenanceLevel.BASIC);
    expect(sent?.idempotencyKey).not.toBe("");
    const days = (timestampMs(sent?.expireTime ?? timestampFromMs(0)) - Date.now()) / day;
    expect(days).toBeGreaterThan(89);
    expect(days).toBeLessThan(91.1);
  });

  test("that never expires comes with a warning", async () => {
    const { transport, calls } = server();
    await renderPage(<Harness first={{ create: true }} />, { transport });
    await userEvent.type(await screen.findByRole("textbox", { name: "Name" }), "shop");
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Expires" }), "Never");
    expect(screen.getByText(/works until somebody revokes it/)).toBeDefined();
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Default policy" }), "main");
    await userEvent.click(screen.getByRole("radio", { name: "Full" }));
    await userEvent.click(screen.getByRole("button", { name: "Create API key" }));
    await waitFor(() => expect(calls.created).toHaveLength(1));
    expect(calls.created[0]?.expireTime).toBeUndefined();
    expect(calls.created[0]?.policyId).toBe("pol_main");
    expect(calls.created[0]?.provenance).toBe(ProvenanceLevel.FULL);
    expect(await screen.findByText(/"model": "policy\/main"/)).toBeDefined();
  });

  test("with a name that is taken says so at the name", async () => {
    const { transport } = server();
    await renderPage(<Harness first={{ create: true }} />, { transport });
    const name = await screen.findByRole("textbox", { name: "Name" });
    await userEvent.click(screen.getByRole("button", { name: "Create API key" }));
    expect(screen.getByText("Give it a name.")).toBeDefined();
    await userEvent.type(name, "app");
    await userEvent.click(screen.getByRole("button", { name: "Create API key" }));
    await screen.findByText("An API key with this name exists already.");
    expect(name.getAttribute("aria-invalid")).toBe("true");
  });

  test("whose answer was lost is said to be lost, and what to do", async () => {
    const { transport } = server({ lost: true });
    await renderPage(<Harness first={{ create: true }} />, { transport });
    await userEvent.type(await screen.findByRole("textbox", { name: "Name" }), "shop");
    await userEvent.click(screen.getByRole("button", { name: "Create API key" }));
    await screen.findByText(/Revoke it in the list and create another/);
  });
});

// Looks through React's own tree: props and state of what is mounted, and of what was before it.
function fibersHold(root: Element, text: string): boolean {
  const seen = new Set<unknown>();
  const found = (value: unknown, depth: number): boolean => {
    if (typeof value === "string") return value.includes(text);
    if (typeof value !== "object" || value === null || value instanceof Node) return false;
    if (seen.has(value) || depth > 12) return false;
    seen.add(value);
    return Object.values(value).some((each) => found(each, depth + 1));
  };
  return [...root.querySelectorAll("*")].some((element) =>
    Object.entries(element).some(([name, value]) => name.startsWith("__react") && found(value, 0)),
  );
}
