import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import {
  type Policy,
  PolicyChange_Kind,
  PolicySchema,
  PolicyService,
  type PolicySpec,
  PolicySpecSchema,
  Strategy,
} from "@/gen/claviger/keys/v1/policy_pb";
import { RoutingService } from "@/gen/claviger/keys/v1/routing_pb";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { BadRequestSchema, ErrorInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { renderPage } from "@/test/render";
import { PoliciesPage } from "./PoliciesPage";
import { NewPolicyPage, PolicyView } from "./PolicyPage";

const { OWN, PLATFORM } = CredentialClass;

type Spec = MessageInitShape<typeof PolicySpecSchema>;

const two: Spec = {
  groups: [
    {
      strategy: Strategy.FALLBACK,
      targets: [
        { model: "openai/gpt-4o", use: OWN },
        { model: "anthropic/claude-sonnet-4-5", use: PLATFORM },
      ],
    },
  ],
};
const one = (model: string): Spec => ({ groups: [{ targets: [{ model, use: OWN }] }] });

function policy(
  spec: Spec | undefined,
  more: Partial<Pick<Policy, "version" | "etag">> & { draft?: Spec } = {},
) {
  return create(PolicySchema, {
    id: "pol_1",
    name: "main",
    version: 1n,
    etag: "1",
    updatedBy: "mem_1",
    createTime: timestampFromMs(0),
    updateTime: timestampFromMs(Date.now()),
    ...(spec && { spec }),
    ...more,
  } as MessageInitShape<typeof PolicySchema>);
}

// A rule in one line: groups of lines, and whose keys serve each.
function told(spec: PolicySpec | undefined): string {
  const line = ({ model, use, credentialId }: PolicySpec["groups"][number]["targets"][number]) =>
    `${model} ${credentialId || (use === OWN ? "own" : use === PLATFORM ? "platform" : "-")}`;
  return (spec?.groups ?? []).map(({ targets }) => targets.map(line).join(", ")).join(" | ");
}

function stale() {
  return new ConnectError("the policy has changed since it was read", Code.Aborted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: "ETAG_MISMATCH" } },
  ]);
}

function server(first = policy(two)) {
  const calls: string[] = [];
  let stored = first;
  let refusal: ConnectError | undefined;
  let problems: { line: number; field: string; description: string; warning?: boolean }[] = [];
  const next = (spec: PolicySpec | undefined, more: object) => {
    stored = create(PolicySchema, { ...stored, etag: `${Number(stored.etag) + 1}`, ...more });
    if (spec) stored.spec = spec;
    return { policy: stored };
  };
  const demand = (etag: string) => {
    if (refusal) throw refusal;
    if (etag !== stored.etag) throw stale();
  };
  const transport = createRouterTransport(({ service }) => {
    service(PolicyService, {
      listPolicies: () => ({ policies: [stored, { id: "pol_2", name: "careful", version: 1n }] }),
      getPolicy: () => ({ policy: stored }),
      createPolicy({ name, spec, publish }) {
        if (refusal) throw refusal;
        calls.push(`create ${name} ${publish ? "published" : "draft"}: ${told(spec)}`);
        return { policy: policy(two) };
      },
      updatePolicy({ etag, spec, publish }) {
        demand(etag);
        calls.push(`${publish ? "publish at once" : "draft"} on ${etag}: ${told(spec)}`);
        return next(undefined, { draft: spec });
      },
      publishPolicy({ etag }) {
        demand(etag);
        calls.push(`publish ${etag}`);
        return next(stored.draft, { draft: undefined, version: stored.version + 1n });
      },
      discardPolicyDraft({ etag }) {
        demand(etag);
        calls.push(`discard ${etag}`);
        return next(undefined, { draft: undefined });
      },
      rollBackPolicy({ etag, version }) {
        demand(etag);
        calls.push(`roll back ${etag} to ${version}`);
        return next(create(PolicySpecSchema, one("openai/old")), { version: stored.version + 1n });
      },
      listPolicyVersions: () => ({
        versions: [
          { version: 2n, spec: two, publishedBy: "mem_1" },
          { version: 1n, spec: one("openai/old"), publishedBy: "mem_1" },
        ],
      }),
      diffPolicy({ fromVersion, toVersion }) {
        calls.push(`diff ${fromVersion} ${toVersion}`);
        return {
          changes: [
            {
              kind: PolicyChange_Kind.CHANGED,
              fromLine: 1,
              toLine: 1,
              field: "groups[0].targets[0].retries",
              from: "2",
              to: "0",
            },
            {
              kind: PolicyChange_Kind.ADDED,
              toLine: 3,
              field: "groups[1].targets[0]",
              to: "openai/new, own",
            },
          ],
        };
      },
      checkPolicy: () => ({ problems }),
      deletePolicy({ id }) {
        calls.push(`delete ${id}`);
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
    service(GroupService, {
      listGroups: () => ({
        groups: [{ id: "grp_1", name: "support", policyId: "pol_1", enforcePolicy: true }],
      }),
    });
    service(RoutingService, {
      getRoutingPreferences: () => ({ preferences: { policyId: "pol_1" }, etag: "1" }),
    });
    service(CredentialService, {
      listCredentials: () => ({ credentials: [{ id: "cred_1", label: "Team key", provider: "openai" }] }),
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
      stored = policy(one("openai/theirs"), { version: 7n, etag: "70" });
    },
    refuse: (error: ConnectError | undefined) => {
      refusal = error;
    },
    find: (found: typeof problems) => {
      problems = found;
    },
  };
}

const button = (name: string | RegExp) => screen.getByRole("button", { name });
const model = (line: number) =>
  screen.getByLabelText(`Model of line ${line}`, { selector: "input" }) as HTMLInputElement;
const models = () =>
  screen
    .getAllByLabelText(/Model of line/, { selector: "input" })
    .map((box) => (box as HTMLInputElement).value);
const use = (line: number) => screen.getByRole("combobox", { name: `Whose keys for line ${line}` });
const ready = () => screen.findByRole("button", { name: "Add a line" });
const saved = (calls: string[]) => calls.filter((call) => !call.startsWith("diff"));

describe("the list of policies", () => {
  test("shows each line with who pays, and whose default it is", async () => {
    const { transport } = server();
    await renderPage(<PoliciesPage />, { transport });
    const row = await screen.findByRole("row", { name: /main/ });
    const lines = within(row).getAllByRole("listitem");
    expect(lines.map(({ textContent }) => textContent)).toEqual([
      "1openai/gpt-4oOwn",
      "2anthropic/claude-sonnet-4-5Platform",
    ]);
    await within(row).findByText(/The organization, Group support, for every request, shop/);
    expect(within(row).queryByText(/gone/)).toBeNull();
    expect(within(row).getByText("policy/main")).toBeDefined();
  });

  test("tells a draft that waits beside a version, and one that was never published", async () => {
    const { transport } = server(policy(two, { draft: one("openai/next") }));
    await renderPage(<PoliciesPage />, { transport });
    await within(await screen.findByRole("row", { name: /main/ })).findByText("Draft not published");
    const { transport: other } = server(policy(undefined, { version: 0n, draft: one("openai/next") }));
    const { container } = await renderPage(<PoliciesPage />, { transport: other });
    const row = await within(container).findByRole("row", { name: /main/ });
    expect(within(row).getByText("None yet")).toBeDefined();
    expect(within(row).getByText("openai/next")).toBeDefined();
  });

  test("deletes after a question that names who still uses it", async () => {
    const { transport, calls } = server();
    await renderPage(<PoliciesPage />, { transport });
    const row = await screen.findByRole("row", { name: /main/ });
    await within(row).findByText(/shop/);
    await userEvent.click(within(row).getByRole("button", { name: "Delete main" }));
    const dialog = await screen.findByRole("dialog", { name: "Delete main" });
    expect(within(dialog).getByText(/still the default of: .*shop/)).toBeDefined();
    await userEvent.click(within(dialog).getByRole("button", { name: "Delete policy" }));
    await waitFor(() => expect(calls).toEqual(["delete pol_1"]));
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
    expect(document.activeElement).toBe(button(/^Move line 2:/));
    await userEvent.keyboard("{ArrowDown}"); // it is the last already
    await userEvent.click(button("Save draft"));
    await waitFor(() =>
      expect(calls).toEqual(["draft on 1: anthropic/claude-sonnet-4-5 platform, openai/gpt-4o own"]),
    );
  });

  test("has groups, into which lines move over the edge, and which move themselves", async () => {
    const { transport, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    await userEvent.click(button("Add a group"));
    await userEvent.type(model(3), "openai/new");
    await userEvent.selectOptions(
      screen.getByRole("combobox", { name: "Order of the lines in group 2" }),
      "By weight",
    );
    await userEvent.type(screen.getByRole("textbox", { name: "Weight of line 3" }), "5");
    await userEvent.click(button("Move line 2 down"));
    expect(document.activeElement?.getAttribute("aria-label")).toBe("Move line 2 down");
    await userEvent.click(button("Move group 2 up"));
    expect(models()).toEqual(["anthropic/claude-sonnet-4-5", "openai/new", "openai/gpt-4o"]);
    expect(screen.getByText("Group moved to place 1 of 2")).toBeDefined();
    await userEvent.click(button("Save draft"));
    await waitFor(() =>
      expect(calls).toEqual([
        "draft on 1: anthropic/claude-sonnet-4-5 platform, openai/new own | openai/gpt-4o own",
      ]),
    );
  });

  test("takes a key of one's own by name, and another policy, which says for itself whose keys serve", async () => {
    const { transport, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    await within(use(1)).findByRole("option", { name: "Team key" });
    await userEvent.selectOptions(use(1), "Team key");
    expect(within(use(2)).queryByRole("option", { name: "Team key" })).toBeNull();
    await userEvent.clear(model(2));
    await userEvent.type(model(2), "policy/careful");
    expect(screen.getByText("As that policy says")).toBeDefined();
    await userEvent.click(button("Save draft"));
    await waitFor(() => expect(calls).toEqual(["draft on 1: openai/gpt-4o cred_1, policy/careful -"]));
  });

  test("folds a line's details away, says what is set in them, and sends it", async () => {
    const { transport } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    expect(screen.queryByRole("textbox", { name: "Retries on the same key" })).toBeNull();
    await userEvent.click(button("Details of line 1"));
    await userEvent.type(screen.getByRole("textbox", { name: "Answer begins within" }), "2.5");
    await userEvent.type(screen.getByRole("textbox", { name: "Retries on the same key" }), "0");
    await userEvent.click(screen.getByRole("checkbox", { name: "Too slow" }));
    await userEvent.click(button("Details of line 1"));
    expect(screen.getByText("begins within 2.5 s · 0 retries · moves on after: too slow")).toBeDefined();
  });

  test("says of a group for which requests it is there", async () => {
    const { transport } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    expect(screen.getByText("for every request")).toBeDefined();
    await userEvent.click(button("Conditions of group 1"));
    await userEvent.click(button("Add a tag"));
    await userEvent.type(screen.getByRole("textbox", { name: "Tag 1" }), "team");
    await userEvent.type(
      screen.getByLabelText("Values of tag 1", { selector: "input" }),
      "search{Enter}support{Enter}",
    );
    await userEvent.type(screen.getByRole("textbox", { name: "Prompt of at most" }), "4000");
    expect(
      screen.getByText("only if tag team is search or support and the prompt has 4000 tokens or fewer"),
    ).toBeDefined();
  });

  test("says at the line what the server finds while it is written, and warnings apart", async () => {
    const { transport, find } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    find([
      { line: 2, field: "groups[0].targets[1].model", description: "there is no such model" },
      { line: 1, field: "groups[0].targets[0].model", description: "it has no price", warning: true },
      { line: 1, field: "groups[0].targets[0].timeouts.total", description: "is less than the first byte" },
    ]);
    await userEvent.type(model(2), "x");
    await screen.findByText("Line 2: There is no such model.");
    expect(model(2).getAttribute("aria-invalid")).toBe("true");
    expect(screen.getByText("Line 1: It has no price.")).toBeDefined();
    expect(model(1).getAttribute("aria-invalid")).not.toBe("true");
    // What is folded away and wrong comes out.
    expect(screen.getByRole("textbox", { name: "Whole answer within" }).getAttribute("aria-invalid")).toBe(
      "true",
    );
    expect(screen.getByText("2 things to mend before it can be saved")).toBeDefined();
    await userEvent.click(button("Move line 2 up"));
    expect(screen.getByText("Line 1: There is no such model.")).toBeDefined();
  });

  test("shows what the server refuses on the line it belongs to, until that is mended", async () => {
    const { transport, refuse, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    refuse(
      new ConnectError("the policy's lines are not valid", Code.InvalidArgument, undefined, [
        { desc: ErrorInfoSchema, value: { reason: "POLICY_INVALID" } },
        {
          desc: BadRequestSchema,
          value: {
            fieldViolations: [
              { field: "spec.groups[0].targets[1].model", description: "line 2: the same as line 1" },
            ],
          },
        },
      ]),
    );
    await userEvent.clear(model(2));
    await userEvent.type(model(2), "openai/gpt-4o");
    await userEvent.click(button("Save draft"));
    await screen.findByText("Line 2: The same as line 1.");
    await waitFor(() => expect(document.activeElement).toBe(model(2)));
    await userEvent.click(button("Move line 2 up"));
    expect(model(1).getAttribute("aria-invalid")).toBe("true");
    refuse(undefined);
    await userEvent.type(model(1), "-mini");
    expect(screen.queryByText(/The same as line 1/)).toBeNull();
    await userEvent.click(button("Save draft"));
    await waitFor(() => expect(calls).toHaveLength(1));
  });

  test("explains that somebody else was faster, and takes either side", async () => {
    const { transport, overtake, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    overtake();
    await userEvent.type(model(1), "-mini");
    await userEvent.click(button("Save draft"));
    const panel = (await screen.findByText(/Somebody else changed this policy/)).closest(
      '[role="alert"]',
    ) as HTMLElement;
    expect(within(panel).getByText("openai/theirs")).toBeDefined();
    expect(calls).toEqual([]);
    expect(models()[0]).toBe("openai/gpt-4o-mini"); // what was typed is still there
    await userEvent.click(within(panel).getByRole("button", { name: "Take theirs" }));
    expect(models()).toEqual(["openai/theirs"]);
    await userEvent.type(model(1), "-2");
    await userEvent.click(button("Save draft"));
    await waitFor(() => expect(calls).toEqual(["draft on 70: openai/theirs-2 own"]));
  });

  test("saves one's own over somebody else's only when that was seen", async () => {
    const { transport, overtake, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    overtake();
    await userEvent.click(button("Remove line 2"));
    await userEvent.click(button("Save draft"));
    await userEvent.click(await screen.findByRole("button", { name: "Save mine instead" }));
    await waitFor(() => expect(calls).toEqual(["draft on 70: openai/gpt-4o own"]));
    await waitFor(() => expect(screen.queryByText(/Somebody else changed/)).toBeNull());
  });

  test("shows those who may not change it the rule in words", async () => {
    const { transport } = server(
      policy({
        maxAttempts: 3,
        groups: [
          {
            strategy: Strategy.STICKY,
            stickyBy: "user",
            when: { apiKeyIds: ["key_1"] },
            targets: [{ model: "openai/gpt-4o", credentialId: "cred_1", weight: 4, retries: 0 }],
          },
        ],
      }),
    );
    await renderPage(<PolicyView id="pol_1" />, { transport, role: Role.VIEWER });
    const lines = await screen.findAllByRole("list", { name: "Lines, in order" });
    await waitFor(() => expect(lines[0]?.textContent).toBe("1openai/gpt-4oOwnTeam keyweight 4 · 0 retries"));
    expect(screen.getByText("only if its API key is shop")).toBeDefined();
    expect(screen.getByText("at most 3 calls for one request")).toBeDefined();
    expect(screen.queryByRole("button", { name: /Save|Publish|Roll back|Delete/ })).toBeNull();
    expect(screen.queryByLabelText(/Model of line/, { selector: "input" })).toBeNull();
  });
});

describe("drafts and versions", () => {
  test("nothing is published before its difference was shown", async () => {
    const { transport, calls } = server();
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await ready();
    expect(button("Publish…")).toHaveProperty("disabled", true);
    await userEvent.type(model(1), "-mini");
    await userEvent.click(button("Publish…"));
    const dialog = await screen.findByRole("dialog", { name: "Publish main" });
    const changes = await within(dialog).findAllByRole("listitem");
    expect(changes.map(({ textContent }) => textContent)).toEqual([
      "Changedline 1Retries on the same key2 → 0",
      "Addedline 3openai/new, own",
    ]);
    expect(saved(calls)).toEqual([
      "draft on 1: openai/gpt-4o-mini own, anthropic/claude-sonnet-4-5 platform",
    ]);
    expect(calls).toContain("diff 0 0");
    await userEvent.click(within(dialog).getByRole("button", { name: "Publish version 2" }));
    await waitFor(() => expect(saved(calls)).toContain("publish 2"));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
    expect(button("Publish…")).toHaveProperty("disabled", true);
    await userEvent.click(button("Remove line 2"));
    await userEvent.click(button("Save draft"));
    await waitFor(() => expect(saved(calls).at(-1)).toBe("draft on 3: openai/gpt-4o-mini own"));
  });

  test("a draft is shown as what it is, and can be discarded", async () => {
    const { transport, calls } = server(policy(two, { draft: one("openai/next"), version: 4n }));
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await screen.findByText(/You see the draft. Version 4 serves/);
    expect(models()).toEqual(["openai/next"]);
    await userEvent.click(button("Discard draft"));
    const dialog = await screen.findByRole("dialog");
    expect(within(dialog).getByText(/Version 4 goes on serving/)).toBeDefined();
    await userEvent.click(within(dialog).getByRole("button", { name: "Discard draft" }));
    await waitFor(() => expect(calls).toEqual(["discard 1"]));
    await waitFor(() => expect(models()).toEqual(["openai/gpt-4o", "anthropic/claude-sonnet-4-5"]));
    expect(screen.queryByText(/You see the draft/)).toBeNull();
  });

  test("an older version is published again after its difference was shown", async () => {
    const { transport, calls } = server(policy(two, { version: 2n }));
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Roll back to version 1" }));
    const dialog = await screen.findByRole("dialog", { name: "Roll back to version 1" });
    await within(dialog).findByText(/again, as version 3/);
    expect(calls).toEqual(["diff 2 1"]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Roll back" }));
    await waitFor(() => expect(calls).toContain("roll back 1 to 1"));
    await waitFor(() => expect(models()).toEqual(["openai/old"]));
    expect(screen.queryByRole("button", { name: "Roll back to version 2" })).toBeDefined();
  });

  test("any two versions can be compared, the draft with them", async () => {
    const { transport, calls } = server(policy(two, { version: 2n, draft: one("openai/next") }));
    await renderPage(<PolicyView id="pol_1" />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Compare version 2 with another" }));
    const dialog = await screen.findByRole("dialog");
    await waitFor(() => expect(calls).toEqual(["diff 1 2"]));
    await userEvent.selectOptions(within(dialog).getByRole("combobox", { name: "To" }), "The draft");
    await waitFor(() => expect(calls).toContain("diff 1 0"));
  });
});

describe("a new policy", () => {
  test("is checked before it is sent", async () => {
    const { transport, calls } = server();
    await renderPage(<NewPolicyPage />, { transport });
    const create = await screen.findByRole("button", { name: "Create policy" });
    await userEvent.click(create);
    expect(screen.getByText("Give it a name.")).toBeDefined();
    expect(screen.getByText("Line 1: Name a model.")).toBeDefined();
    await userEvent.type(screen.getByRole("textbox", { name: "Name" }), "cheap-first");
    await userEvent.type(model(1), "openai/gpt-4o");
    expect(calls).toEqual([]);
    await userEvent.click(create);
    await waitFor(() => expect(calls).toEqual(["create cheap-first published: openai/gpt-4o own"]));
  });

  test("can be kept as a draft, which serves nobody", async () => {
    const { transport, calls } = server();
    await renderPage(<NewPolicyPage />, { transport });
    await userEvent.type(await screen.findByRole("textbox", { name: "Name" }), "later");
    await userEvent.type(model(1), "openai/gpt-4o");
    await userEvent.click(button("Save draft"));
    await waitFor(() => expect(calls).toEqual(["create later draft: openai/gpt-4o own"]));
  });
});
