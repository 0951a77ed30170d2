import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it } from "vitest";
import {
  type Credential,
  CredentialSchema,
  CredentialService,
  CredentialState,
} from "@/gen/claviger/keys/v1/credential_pb";
import { MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { renderPage } from "@/test/render";
import { CredentialsPage } from "./CredentialsPage";

const now = Date.now();

function credential(id: string, label: string, more: Partial<Pick<Credential, "state" | "priority">> = {}) {
  return create(CredentialSchema, {
    id,
    label,
    provider: "openai",
    hint: "…4f2a",
    state: CredentialState.ACTIVE,
    createTime: timestampFromMs(now - 3_600_000),
    createdBy: "mem_2",
    etag: `etag-${id}`,
    ...more,
  });
}

// Two pages of credentials, of which the last can be removed and changed.
function server({ metering = true } = {}) {
  const calls = {
    deleted: [] as string[],
    updated: [] as unknown[],
    rotated: [] as string[],
    pages: [] as string[],
  };
  const transport = createRouterTransport(({ service }) => {
    service(CredentialService, {
      listCredentials({ pageToken }) {
        calls.pages.push(pageToken);
        return pageToken === ""
          ? { credentials: [credential("cred_1", "Search team")], nextPageToken: "next" }
          : {
              credentials: [
                credential("cred_2", "<b>Old</b>", { state: CredentialState.DISABLED, priority: 3 }),
              ],
            };
      },
      deleteCredential({ id }) {
        calls.deleted.push(id);
        return {};
      },
      updateCredential(request) {
        calls.updated.push({ id: request.id, etag: request.etag, disabled: request.disabled });
        return {};
      },
      rotateCredential({ secret }) {
        calls.rotated.push(secret);
        return { credential: credential("cred_1", "Search team") };
      },
      testCredential: () => ({ credential: credential("cred_1", "Search team"), tested: true }),
    });
    service(MemberService, {
      listMembers: () => ({ members: [{ id: "mem_2", email: "admin@acme.example" }] }),
    });
    if (metering) {
      service(UsageService, {
        listLastUses: () => ({ lastUses: [{ id: "cred_1", lastTime: timestampFromMs(now - 120_000) }] }),
      });
    }
  });
  return { calls, transport };
}

const row = async (label: string) => within(await screen.findByRole("row", { name: new RegExp(label) }));

describe("the list of credentials", () => {
  it("says of each its state, its end, who added it, and when it was last used", async () => {
    const { transport } = server();
    await renderPage(<CredentialsPage />, { transport });
    const search = await row("Search team");
    expect(search.getByText("Works")).toBeTruthy();
    expect(search.getByText("…4f2a")).toBeTruthy();
    expect(await search.findByText("by admin@acme.example")).toBeTruthy();
    expect(search.getByText("1 hour ago")).toBeTruthy();
    expect(await search.findByText("2 minutes ago")).toBeTruthy();
  });

  it("loads the next page when asked, and not before", async () => {
    const { calls, transport } = server();
    await renderPage(<CredentialsPage />, { transport });
    await row("Search team");
    expect(calls.pages).toEqual([""]);
    await userEvent.click(screen.getByRole("button", { name: "Load more" }));
    await row("Old");
    expect(calls.pages).toContain("next");
    expect(screen.queryByRole("button", { name: "Load more" })).toBeNull();
  });

  it("shows what people wrote as text", async () => {
    const { transport } = server();
    await renderPage(<CredentialsPage />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Load more" }));
    expect(await screen.findByText("<b>Old</b>")).toBeTruthy();
    expect(document.querySelector("b")).toBeNull();
  });

  it("works without metering, and says what is missing", async () => {
    const { transport } = server({ metering: false });
    await renderPage(<CredentialsPage />, { transport });
    expect(await (await row("Search team")).findByText("Not available right now")).toBeTruthy();
  });

  it("gives no buttons to those who may only look, and nothing to those who may not", async () => {
    const { transport } = server();
    const { unmount } = await renderPage(<CredentialsPage />, { transport, role: Role.VIEWER });
    const search = await row("Search team");
    expect(search.queryByRole("button")).toBeNull();
    expect(screen.queryByRole("link", { name: "Bring a key" })).toBeNull();
    unmount();
    const { calls, transport: other } = server();
    await renderPage(<CredentialsPage />, { transport: other, role: Role.MEMBER });
    expect(await screen.findByText("Your role does not see credentials")).toBeTruthy();
    expect(calls.pages).toEqual([]);
  });

  it("removes a credential only after its label was typed", async () => {
    const { calls, transport } = server();
    await renderPage(<CredentialsPage />, { transport });
    await userEvent.click((await row("Search team")).getByRole("button", { name: "Change Search team" }));
    await userEvent.click(await screen.findByRole("menuitem", { name: "Remove" }));
    const remove = await screen.findByRole<HTMLButtonElement>("button", { name: "Remove credential" });
    expect(remove.disabled).toBe(true);
    await userEvent.type(screen.getByLabelText(/Type the label/), "Search tea");
    expect(remove.disabled).toBe(true);
    await userEvent.type(screen.getByLabelText(/Type the label/), "m");
    await userEvent.click(remove);
    await waitFor(() => expect(calls.deleted).toEqual(["cred_1"]));
  });

  it("switches a credential on again with the etag that was read", async () => {
    const { calls, transport } = server();
    await renderPage(<CredentialsPage />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Load more" }));
    await userEvent.click((await row("Old")).getByRole("button", { name: /^Change/ }));
    await userEvent.click(await screen.findByRole("menuitem", { name: "Switch on" }));
    await waitFor(() =>
      expect(calls.updated).toEqual([{ id: "cred_2", etag: "etag-cred_2", disabled: false }]),
    );
  });

  it("replaces a key in two steps, tests it, and keeps nothing of it", async () => {
    const { calls, transport } = server();
    await renderPage(<CredentialsPage />, { transport });
    await userEvent.click((await row("Search team")).getByRole("button", { name: "Change Search team" }));
    await userEvent.click(await screen.findByRole("menuitem", { name: "Replace the key" }));
    await userEvent.type(await screen.findByLabelText("New key"), "sk-canary-0123456789");
    await userEvent.click(screen.getByRole("button", { name: "Continue" }));
    expect(calls.rotated).toEqual([]);
    await userEvent.click(await screen.findByRole("button", { name: "Replace and test" }));
    expect(await screen.findByText("It works: OpenAI accepts the key")).toBeTruthy();
    expect(calls.rotated).toEqual(["sk-canary-0123456789"]);
    expect(document.documentElement.outerHTML).not.toContain("canary");
    expect([...document.querySelectorAll("input")].map(({ value }) => value).join()).not.toContain("canary");
  });

  it("says why it could not be loaded, and tries again", async () => {
    let fails = true;
    const transport = createRouterTransport(({ service }) => {
      service(CredentialService, {
        listCredentials() {
          if (fails) throw new ConnectError("the database is away", Code.Internal);
          return {};
        },
      });
    });
    await renderPage(<CredentialsPage />, { transport });
    expect((await screen.findByRole("alert")).textContent).toContain("The database is away.");
    fails = false;
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(await screen.findByText("No credentials yet")).toBeTruthy();
  });
});
