import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialSchema, CredentialService, CredentialState } from "@/gen/claviger/keys/v1/credential_pb";
import {
  type Drill,
  DrillFault,
  DrillReportSchema,
  DrillSchema,
  DrillService,
} from "@/gen/claviger/keys/v1/drill_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { renderPage } from "@/test/render";
import { CredentialView } from "./CredentialPage";

const now = Date.now();
const in1h = timestampFromMs(now + 4_200_000);

type Init = MessageInitShape<typeof CredentialSchema>;

function server(more: Init = {}) {
  const calls: string[] = [];
  const credential = create(CredentialSchema, {
    id: "cred_1",
    label: "Team key",
    provider: "openai",
    hint: "…4f2a",
    revision: 3,
    state: CredentialState.ACTIVE,
    createTime: timestampFromMs(now - 3_600_000),
    lastUseTime: timestampFromMs(now - 120_000),
    etag: "7",
    ...more,
  } as Init);
  let drill: Drill | undefined;
  const transport = createRouterTransport(({ service }) => {
    service(CredentialService, {
      getCredential: () => ({ credential }),
      listCredentials: () => ({ credentials: [credential, { id: "cred_2", label: "Spare" }] }),
      updateCredential(request) {
        calls.push(
          `update ${request.etag} disabled=${request.disabled} cut=${request.cutStreams} weight=${request.weight} models=${request.scope?.models} keys=${request.scope?.apiKeyIds}`,
        );
        return {
          credential,
          receipt: {
            configVersion: 42n,
            connected: 3,
            confirmed: 3,
            elapsed: durationFromMs(412),
            streamsCut: 2,
          },
        };
      },
      deleteCredential({ id, cutStreams }) {
        calls.push(`delete ${id} cut=${cutStreams}`);
        return {
          receipt: { connected: 2, confirmed: 1, elapsed: durationFromMs(5000), missing: ["router-b"] },
        };
      },
      stageSecret({ etag, secret }) {
        calls.push(`stage ${etag} ${secret}`);
        credential.next = create(CredentialSchema, {
          next: { revision: 4, hint: "…9999", state: CredentialState.UNVERIFIED },
        }).next as NonNullable<typeof credential.next>;
        return { credential };
      },
      setSecretShare({ revision, sharePercent, etag }) {
        calls.push(`share ${etag} ${revision} ${sharePercent}`);
        if (credential.next) credential.next.sharePercent = sharePercent;
        return { credential };
      },
      promoteSecret({ revision, etag }) {
        calls.push(`promote ${etag} ${revision}`);
        return { credential };
      },
      discardSecret({ revision, etag }) {
        calls.push(`discard ${etag} ${revision}`);
        return { credential };
      },
      testCredential({ revision }) {
        calls.push(`test ${revision}`);
        return { credential, tested: true };
      },
      listHeadroom: ({ credentialId }) => ({
        headroom: [
          {
            credentialId,
            model: "openai/gpt-4o",
            router: "router-a",
            requests: { limit: 1000n, remaining: 40n, resetTime: in1h },
            coolingUntil: in1h,
            time: timestampFromMs(now),
          },
        ],
      }),
    });
    service(ApiKeyService, {
      listApiKeys: () => ({
        apiKeys: [
          { id: "key_1", name: "shop" },
          { id: "key_2", name: "trial" },
        ],
      }),
    });
    service(GroupService, { listGroups: () => ({ groups: [{ id: "grp_1", name: "support" }] }) });
    service(PolicyService, { listPolicies: () => ({ policies: [{ id: "pol_1", name: "main" }] }) });
    service(DrillService, {
      startDrill(request) {
        calls.push(
          `drill ${request.credentialId} ${request.apiKeyId} ${DrillFault[request.fault]} ${request.duration?.seconds}`,
        );
        drill = create(DrillSchema, {
          id: "drill_1",
          credentialId: request.credentialId,
          apiKeyId: request.apiKeyId,
          fault: request.fault,
          startTime: timestampFromMs(Date.now()),
          endTime: timestampFromMs(Date.now() + 120_000),
        });
        return { drill };
      },
      getDrill() {
        const report = create(DrillReportSchema, {
          requests: 3n,
          failedCalls: 3n,
          served: [
            { model: "openai/gpt-4o", credentialId: "cred_2", policyId: "pol_1", line: 1, requests: 2n },
            { model: "anthropic/claude-haiku-4-5", policyId: "pol_1", line: 2, requests: 1n },
          ],
        });
        if (drill) drill.report = report;
        return { drill };
      },
      listDrills: () => ({ drills: drill ? [drill] : [] }),
      stopDrill({ id }) {
        calls.push(`stop ${id}`);
        if (drill) drill.endTime = timestampFromMs(Date.now() - 1);
        return {};
      },
    });
  });
  return { transport, calls };
}

const draw = (of: ReturnType<typeof server>, role = Role.OWNER) =>
  renderPage(<CredentialView id="cred_1" />, { transport: of.transport, role });
const button = (name: string | RegExp) => screen.getByRole("button", { name });
const menu = async (item: string) => {
  await userEvent.click(await screen.findByRole("button", { name: "Change Team key" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: item }));
  return screen.findByRole("dialog");
};

describe("the page of a credential", () => {
  test("says what may use it, when it is tested again, and when it stops", async () => {
    await draw(
      server({
        weight: 4,
        scope: { models: ["openai/gpt-4o*"], apiKeyIds: ["key_1"], groupIds: ["grp_1"] },
        nextTestTime: in1h,
        stateTime: timestampFromMs(now),
        expireTime: in1h,
      }),
    );
    await screen.findByText("Models: openai/gpt-4o*");
    await screen.findByText("API keys: shop, group support");
    expect(screen.getByText("Weight 4")).toBeDefined();
    expect(screen.getByText("Tested again in 1 hour")).toBeDefined();
  });

  test("tells what is left of the provider's limits, and what cools down", async () => {
    await draw(server());
    const row = await screen.findByRole("row", { name: /openai\/gpt-4o/ });
    expect(within(row).getByText("40 of 1,000")).toBeDefined();
    expect(within(row).getByText("whole again in 1 hour")).toBeDefined();
    expect(within(row).getByText(/^until /)).toBeDefined();
    expect(within(row).getByText("Not told")).toBeDefined();
  });

  test("narrows what it may be used for", async () => {
    const made = server();
    await draw(made);
    const dialog = await menu("Edit");
    const weight = within(dialog).getByLabelText("Weight", { selector: "input" });
    await userEvent.clear(weight);
    await userEvent.type(weight, "3");
    await userEvent.type(within(dialog).getByLabelText("Models", { selector: "input" }), "openai/*{Enter}");
    await userEvent.click(within(dialog).getByLabelText("API keys", { selector: "input" }));
    const trials = await screen.findAllByRole("option", { name: "trial" });
    await userEvent.click(trials.find(({ tagName }) => tagName !== "OPTION") as HTMLElement);
    await userEvent.click(within(dialog).getByRole("button", { name: "Save" }));
    await waitFor(() =>
      expect(made.calls).toEqual([
        "update 7 disabled=undefined cut=false weight=3 models=openai/* keys=key_2",
      ]),
    );
  });

  test("gives no buttons to those who may only look", async () => {
    await draw(server({ next: { revision: 4, hint: "…9999", sharePercent: 1 } }), Role.ADMIN);
    await screen.findByText("1 % of the requests");
    await screen.findByRole("row", { name: /openai\/gpt-4o/ });
    expect(screen.queryByRole("button")).toBeNull();
  });
});

describe("taking a credential out of use", () => {
  test("cuts answers if asked to, and shows the receipt", async () => {
    const made = server();
    await draw(made);
    const dialog = await menu("Switch off");
    await userEvent.click(within(dialog).getByRole("checkbox", { name: /Cut answers/ }));
    await userEvent.click(within(dialog).getByRole("button", { name: "Switch off" }));
    await screen.findByText("3 of 3 routers confirmed in 0.4 s");
    expect(screen.getByText("2 answers were cut.")).toBeDefined();
    expect(made.calls).toEqual([
      "update 7 disabled=true cut=true weight=undefined models=undefined keys=undefined",
    ]);
    await userEvent.click(button("Done"));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  });

  test("names the routers that have not confirmed", async () => {
    const made = server();
    await draw(made);
    const dialog = await menu("Remove");
    await userEvent.type(within(dialog).getByLabelText(/Type the label/), "Team key");
    await userEvent.click(within(dialog).getByRole("button", { name: "Remove credential" }));
    await screen.findByText("1 of 2 routers confirmed in 5 s");
    expect(screen.getByText(/Not yet confirmed: router-b/)).toBeDefined();
    expect(made.calls).toEqual(["delete cred_1 cut=false"]);
  });
});

describe("rotation with two keys", () => {
  test("does not say that a key serves which is switched off", async () => {
    await draw(server({ state: CredentialState.DISABLED }));
    await screen.findByRole("button", { name: "Stage a second key" });
    expect(screen.queryByText("Serves")).toBeNull();
    expect(screen.getAllByText("Switched off")).toHaveLength(2);
  });

  test("stages a second key, and keeps nothing of it", async () => {
    const made = server();
    await draw(made);
    await userEvent.click(await screen.findByRole("button", { name: "Stage a second key" }));
    await userEvent.type(await screen.findByLabelText("Second key"), "sk-canary-0123456789");
    await userEvent.click(button("Stage a second key"));
    await screen.findByText("…9999");
    expect(made.calls).toEqual(["stage 7 sk-canary-0123456789"]);
    expect(screen.getByText("Serves nobody yet")).toBeDefined();
    expect(document.documentElement.outerHTML).not.toContain("canary");
  });

  test("gives it a share in steps, and promotes it", async () => {
    const made = server({ next: { revision: 4, hint: "…9999", state: CredentialState.ACTIVE } });
    await draw(made);
    await userEvent.click(await screen.findByRole("button", { name: "Give it 1 % of the requests" }));
    await screen.findByText("1 % of the requests");
    expect(screen.getByText("99 % of the requests")).toBeDefined();
    expect(button("Give it 1 % of the requests").getAttribute("aria-pressed")).toBe("true");
    await userEvent.click(button("Give it 10 % of the requests"));
    await screen.findByText("10 % of the requests");
    await userEvent.click(button("Promote"));
    const dialog = await screen.findByRole("dialog", { name: "Promote the second key" });
    expect(within(dialog).getByText(/It has not had all of the requests yet: 10 %/)).toBeDefined();
    await userEvent.click(within(dialog).getByRole("button", { name: "Promote" }));
    await waitFor(() => expect(made.calls).toEqual(["share 7 4 1", "share 7 4 10", "promote 7 4"]));
  });

  test("says that a refusal took its share away, and offers neither share nor promotion", async () => {
    const made = server({
      next: {
        revision: 4,
        state: CredentialState.REJECTED,
        stateReason: "OpenAI answered 401; make a new key",
        rolledBack: true,
      },
    });
    await draw(made);
    await screen.findByText("OpenAI refused it, so its share was taken away at once.");
    expect(screen.getByText("OpenAI answered 401. Make a new key.")).toBeDefined();
    expect(button("Give it 1 % of the requests")).toHaveProperty("disabled", true);
    expect(button("Promote")).toHaveProperty("disabled", true);
    await userEvent.click(button("Test again"));
    await waitFor(() => expect(made.calls).toEqual(["test 4"]));
  });

  test.each([
    [
      { safe: true, safeTime: timestampFromMs(now) },
      "It is safe to revoke it at OpenAI",
      /not used for 24 hours/,
    ],
    [{ safeTime: in1h }, "Do not revoke it yet", /it is safe in 1 hour/],
    [{}, "Do not revoke it yet", /Not every connected router has said/],
  ])("says whether the old key may be revoked, and why not yet: %#", async (previous, title, why) => {
    const made = server({ previous: { revision: 2, hint: "…1111", ...previous } });
    await draw(made);
    await screen.findByText(title);
    expect(screen.getByText(why)).toBeDefined();
    await userEvent.click(button("I have revoked it"));
    const dialog = await screen.findByRole("dialog", { name: "Forget the old key" });
    await userEvent.click(within(dialog).getByRole("button", { name: "I have revoked it" }));
    await waitFor(() => expect(made.calls).toEqual(["discard 7 2"]));
  });
});

describe("a fire drill", () => {
  test("is started for one API key, tells who served instead, and can be stopped", async () => {
    const made = server();
    await draw(made);
    await userEvent.click(await screen.findByRole("button", { name: "Start the drill" }));
    expect(screen.getByText("Choose an API key.")).toBeDefined();
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "API key" }), "trial");
    await userEvent.click(screen.getByRole("radio", { name: "Answer 401" }));
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "For" }), "2 minutes");
    await userEvent.click(button("Start the drill"));
    await screen.findByText(/Answer 401 for trial: \d+ s left/);
    expect(made.calls).toEqual(["drill cred_1 key_2 UNAUTHORIZED 120"]);
    const served = await screen.findByRole("table", { name: "Who served instead" });
    const rows = within(served)
      .getAllByRole("row")
      .slice(1)
      .map((row) => [...row.children].map(({ textContent }) => textContent));
    expect(rows).toEqual([
      ["openai/gpt-4o", "Spare", "main, line 1", "2"],
      ["anthropic/claude-haiku-4-5", "The operator's", "main, line 2", "1"],
    ]);
    expect(screen.getByText("Every one was served by somebody else")).toBeDefined();
    await userEvent.click(button("Stop now"));
    await screen.findByRole("table", { name: "Earlier drills" });
    expect(made.calls.at(-1)).toBe("stop drill_1");
  });
});
