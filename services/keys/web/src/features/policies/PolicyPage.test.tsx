import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { type Policy, PolicySchema, PolicyService, type Target } from "@/gen/claviger/keys/v1/policy_pb";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { BadRequestSchema, ErrorInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { renderPage } from "@/test/render";
import { PoliciesPage } from "./PoliciesPage";
import { NewPolicyPage, PolicyView } from "./PolicyPage";

const { OWN, PLATFORM } = CredentialClass;

function policy({
  targets = [
    { model: "openai/gpt-4o", use: OWN },
    { model: "anthropic/claude-sonnet-4-5", use: PLATFORM },
  ],
  ...more
}: Partial<Pick<Policy, "version" | "etag" | "updatedBy">> & {
  targets?: Pick<Target, "model" | "use">[];
} = {}) {
  return create(PolicySchema, {
    id: "pol_1",
    name: "main",
    version: 1n,
    etag: "1",
    updatedBy: "mem_1",
    createTime: timestampFromMs(0),
    updateTime: timestampFromMs(Date.now()),
    spec: { groups: [{ targets }] },
    ...more,
  });
}

function server() {
  const calls = {
    created: [] as { name: string; models: string[] }[],
    updated: [] as { etag: string; lines: string[] }[],
    deleted: [] as string[],
  };
  let stored = policy();
  let refusal: ConnectError | undefined;
  const transport = createRouterTransport(({ service }) => {
    service(PolicyService, {
      listPolicies: () => ({ policies: [stored] }),
      getPolicy: () => ({ policy: stored }),
      createPolicy({ name, spec }) {
        const targets = spec?.groups[0]?.targets ?? [];
        if (refusal) throw refusal;
        calls.created.push({ name, models: targets.map(({ model }) => model) });
        return { policy: policy() };
      },
      updatePolicy({ etag, spec }) {
        const targets = spec?.groups[0]?.targets ?? [];
        if (refusal) throw refusal;
        if (etag !== stored.etag) {
          throw new ConnectError("the policy has changed since it was read", Code.Aborted, undefined, [
            { desc: ErrorInfoSchema, value: { reason: "ETAG_MISMATCH" } },
          ]);
        }
        calls.updated.push({
          etag,
          lines: targets.map(({ model, use }) => `${model} ${use === OWN ? "own" : "platform"}`),
        });
        stored = policy({ version: stored.version + 1n, etag: `${stored.version + 1n}`, targets });
        return { policy: stored };
      },
      deletePolicy({ id }) {
        calls.deleted.push(id);
        return {};
      },
    });
    service(ApiKeyService, {
      listApiKeys: () => ({
        apiKeys: [
          { id: "key_1", name: "shop", policyId: "pol_1" },
          { id: "key_2", name: "gone", policyId: "pol_1", revokeTime: timestampFromMs(1) },
        ],
      }),
    });
    service(CredentialService, {
      listCredentials: () => ({ credentials: [{ id: "c", provider: "openai" }] }),
    });
    service(PriceService, {
      listPrices: () => ({ prices: [{ model: "openai/gpt-4o" }, { model: "anthropic/claude-sonnet-4-5" }] }),
    });
  });
  return {
    transport,
    calls,
    /** Somebody else saves first. */
    overtake: () => {
      stored = policy({ version: 7n, etag: "7", targets: [{ model: "openai/theirs", use: OWN }] });
    },
    refuse: (error: ConnectError | undefined) => {
      refusal = error;
    },
  };
}

const save = () => screen.getByRole("button", { name: "Save changes" });
const model = (line: number) =>
  screen.getByLabelText(`Model of line ${line}`, { selector: "input" }) as HTMLInputElement;
const models = () =>
  screen
    .getAllByLabelText(/Model of line/, { selector: "input" })
    .map((box) => (box as HTMLInputElement).value);

describe("the list of policies", () => {
  test("shows each line with who pays, and which API keys use it", async () => {
    const { transport } = server();
    await renderPage(<PoliciesPage />, { transport });
    const row = await screen.findByRole("row", { name: /main/ });
    const lines = within(row).getAllByRole("listitem");
    expect(lines.map(({ textContent }) => textContent)).toEqual([
      "openai/gpt-4oOwn",
      "anthropic/claude-sonnet-4-5Platform",
    ]);
    await within(row).findByText("shop");
    expect(within(row).queryByText("gone")).toBeNull();
    expect(within(row).getByText("policy/main")).toBeDefined();
  });

  test("deletes after a question that names the API keys in the way", async () => {
    const { transport, calls } = server();
    await renderPage(<PoliciesPage />, { transport });
    const row = await screen.findByRole("row", { name: /main/ });
    await within(row).findByText("shop");
    await userEvent.click(within(row).getByRole("button", { name: "Delete main" }));
    const dialog = await screen.findByRole("dialog", { name: "Delete main" });
    expect(within(dialog).getByText(/default of shop/)).toBeDefined();
    await userEvent.click(within(dialog).getByRole("button", { name: "Delete policy" }));
    await waitFor(() => expect(calls.deleted).toEqual(["pol_1"]));
  });

  test("offers members nothing that they may not do", async () => {
    const { transport } = server();
    await renderPage(<PoliciesPage />, { transport, role: Role.MEMBER });
    await screen.findByRole("row", { name: /main/ });
    expect(screen.queryByRole("link", { name: "Create a policy" })).toBeNull();
    expect(screen.queryByRole("button", { name: "Delete main" })).toBeNull();
  });
});

describe("editing a policy", () => {
  test("moves a line with the arrow keys, says where it is, and keeps the focus on it", async () => {
    const { transport, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    const grip = await screen.findByRole("button", { name: /^Move line 1:/ });
    grip.focus();
    await userEvent.keyboard("{ArrowDown}");
    expect(models()).toEqual(["anthropic/claude-sonnet-4-5", "openai/gpt-4o"]);
    expect(screen.getByText("Line moved to place 2 of 2")).toBeDefined();
    expect(document.activeElement).toBe(screen.getByRole("button", { name: /^Move line 2:/ }));
    await userEvent.keyboard("{ArrowDown}"); // it is the last already
    await userEvent.click(save());
    await waitFor(() =>
      expect(calls.updated).toEqual([
        { etag: "1", lines: ["anthropic/claude-sonnet-4-5 platform", "openai/gpt-4o own"] },
      ]),
    );
  });

  test("adds, removes and changes lines, and builds on what it saved", async () => {
    const { transport, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await screen.findByRole("button", { name: "Add a line" });
    expect(save()).toHaveProperty("disabled", true);
    await userEvent.click(screen.getByRole("button", { name: "Add a line" }));
    await userEvent.type(model(3), "openai/new");
    await userEvent.click(screen.getByRole("button", { name: "Remove line 1" }));
    const who = screen.getByRole("radiogroup", { name: "Who pays for line 1" });
    await userEvent.click(within(who).getByRole("radio", { name: "Own" }));
    await screen.findByText(/no credential of Anthropic yet/);
    await screen.findByText(/No price is known for this model/);
    await userEvent.click(save());
    await waitFor(() =>
      expect(calls.updated[0]?.lines).toEqual(["anthropic/claude-sonnet-4-5 own", "openai/new own"]),
    );
    await userEvent.click(screen.getByRole("button", { name: "Remove line 2" }));
    await userEvent.click(save());
    await waitFor(() =>
      expect(calls.updated[1]).toEqual({ etag: "2", lines: ["anthropic/claude-sonnet-4-5 own"] }),
    );
  });

  test("shows what the server refuses on the line it belongs to, until that is mended", async () => {
    const { transport, refuse, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await screen.findByRole("button", { name: "Add a line" });
    refuse(
      new ConnectError("the policy's lines are not valid", Code.InvalidArgument, undefined, [
        { desc: ErrorInfoSchema, value: { reason: "POLICY_TARGETS_INVALID" } },
        {
          desc: BadRequestSchema,
          value: {
            fieldViolations: [{ field: "spec.groups[0].targets[1]", description: "the same as line 1" }],
          },
        },
      ]),
    );
    await userEvent.clear(model(2));
    await userEvent.type(model(2), "openai/gpt-4o");
    await userEvent.click(save());
    await screen.findByText("The same as line 1.");
    expect(model(2).getAttribute("aria-invalid")).toBe("true");
    expect(model(1).getAttribute("aria-invalid")).not.toBe("true");
    await userEvent.click(screen.getByRole("button", { name: "Move line 2 up" }));
    expect(model(1).getAttribute("aria-invalid")).toBe("true");
    refuse(undefined);
    await userEvent.type(model(1), "-mini");
    expect(screen.queryByText("The same as line 1.")).toBeNull();
    await userEvent.click(save());
    await waitFor(() => expect(calls.updated).toHaveLength(1));
  });

  test("explains that somebody else was faster, and takes either side", async () => {
    const { transport, overtake, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await screen.findByRole("button", { name: "Add a line" });
    overtake();
    await userEvent.type(model(1), "-mini");
    await userEvent.click(save());
    const panel = (await screen.findByText(/Somebody else changed this policy/)).closest(
      '[role="alert"]',
    ) as HTMLElement;
    expect(within(panel).getByText("openai/theirs")).toBeDefined();
    expect(calls.updated).toEqual([]);
    expect(models()[0]).toBe("openai/gpt-4o-mini"); // what was typed is still there
    await userEvent.click(within(panel).getByRole("button", { name: "Take theirs" }));
    expect(models()).toEqual(["openai/theirs"]);
    await userEvent.type(model(1), "-2");
    overtake();
    await userEvent.click(save());
    await waitFor(() => expect(calls.updated).toEqual([{ etag: "7", lines: ["openai/theirs-2 own"] }]));
  });

  test("saves one's own over somebody else's only when that was seen", async () => {
    const { transport, overtake, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await screen.findByRole("button", { name: "Add a line" });
    overtake();
    await userEvent.click(screen.getByRole("button", { name: "Remove line 2" }));
    await userEvent.click(save());
    await userEvent.click(await screen.findByRole("button", { name: "Save mine instead" }));
    await waitFor(() => expect(calls.updated).toEqual([{ etag: "7", lines: ["openai/gpt-4o own"] }]));
    await waitFor(() => expect(screen.queryByText(/Somebody else changed/)).toBeNull());
  });
});

describe("a new policy", () => {
  test("is checked before it is sent", async () => {
    const { transport, calls } = server();
    await renderPage(<NewPolicyPage />, { transport });
    const create = await screen.findByRole("button", { name: "Create policy" });
    await userEvent.click(create);
    expect(screen.getByText("Give it a name.")).toBeDefined();
    expect(screen.getByText("Name a model.")).toBeDefined();
    await userEvent.type(screen.getByRole("textbox", { name: "Name" }), "cheap-first");
    await userEvent.type(model(1), "openai/gpt-4o");
    expect(calls.created).toEqual([]);
    await userEvent.click(create);
    await waitFor(() => expect(calls.created).toEqual([{ name: "cheap-first", models: ["openai/gpt-4o"] }]));
  });
});
