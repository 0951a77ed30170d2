import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, test } from "vitest";
import { type Member, MemberSchema, MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { ErrorInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { renderPage } from "@/test/render";
import { MembersPage } from "./MembersPage";

function server({ refuses = false } = {}) {
  const calls: string[] = [];
  const members: Member[] = [
    create(MemberSchema, { id: "mem_1", email: "owner@acme.example", role: Role.OWNER, etag: "1" }),
    create(MemberSchema, { id: "mem_2", email: "second@acme.example", role: Role.OWNER, etag: "2" }),
    create(MemberSchema, { id: "mem_3", email: "dev@acme.example", role: Role.MEMBER, etag: "3" }),
    create(MemberSchema, {
      id: "mem_4",
      email: "gone@acme.example",
      role: Role.MEMBER,
      etag: "4",
      disableTime: timestampFromMs(Date.now() - 3 * 60_000),
    }),
  ];
  const transport = createRouterTransport(({ service }) => {
    service(MemberService, {
      listMembers: () => ({ members }),
      updateMember({ id, role, etag, disabled, cutStreams, idempotencyKey }) {
        expect(idempotencyKey).not.toBe("");
        calls.push(`${id} ${etag}: ${Role[role]} ${disabled}${cutStreams ? " and cut" : ""}`);
        if (refuses) {
          throw new ConnectError("the member has changed", Code.Aborted, undefined, [
            { desc: ErrorInfoSchema, value: { reason: "ETAG_MISMATCH" } },
          ]);
        }
        const member = members.find((each) => each.id === id);
        if (!member) throw new ConnectError("there is no such member", Code.NotFound);
        member.etag += "0";
        member.disableTime = disabled ? timestampFromMs(Date.now()) : undefined;
        return {
          member,
          receipt: {
            connected: 2,
            confirmed: 2,
            streamsCut: 1,
            elapsed: { seconds: 0n, nanos: 300_000_000 },
          },
        };
      },
    });
  });
  return { transport, calls };
}

const row = (email: string) => screen.findByRole("row", { name: new RegExp(email) });

async function openMenu(email: string) {
  await userEvent.click(await screen.findByRole("button", { name: `Change ${email}` }));
  return screen.findByRole("menu");
}

const offered = (menu: HTMLElement) =>
  within(menu)
    .getAllByRole("menuitem")
    .map((item) => item.textContent);

describe("a member", () => {
  test("is disabled at once, with the answers under way if wanted, and the receipt stays until it was seen", async () => {
    const { transport, calls } = server();
    await renderPage(<MembersPage />, { transport });
    expect(within(await row("dev@acme")).queryByText(/Disabled/)).toBeNull();
    const menu = await openMenu("dev@acme.example");
    expect(offered(menu)).toEqual(["Change the role", "Disable", "Remove"]);
    await userEvent.click(within(menu).getByRole("menuitem", { name: "Disable" }));
    const dialog = await screen.findByRole("dialog", { name: "Disable dev@acme.example" });
    within(dialog).getByText(/the API keys that they own are refused/);
    await userEvent.click(within(dialog).getByRole("checkbox", { name: /Cut answers/ }));
    expect(calls).toEqual([]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Disable member" }));
    await within(dialog).findByText("2 of 2 routers confirmed in 0.3 s");
    within(dialog).getByText("1 answer was cut.");
    // The role is not said again: somebody else may have changed it.
    expect(calls).toEqual(["mem_3 3: UNSPECIFIED true and cut"]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Done" }));
    await within(await row("dev@acme")).findByText(/^Disabled/);
    expect(screen.queryByRole("dialog")).toBeNull();
  });

  test("keeps answers under way unless somebody asks to cut them", async () => {
    const { transport, calls } = server();
    await renderPage(<MembersPage />, { transport });
    const menu = await openMenu("dev@acme.example");
    await userEvent.click(within(menu).getByRole("menuitem", { name: "Disable" }));
    await userEvent.click(await screen.findByRole("button", { name: "Disable member" }));
    await screen.findByText("2 of 2 routers confirmed in 0.3 s");
    expect(calls).toEqual(["mem_3 3: UNSPECIFIED true"]);
  });

  test("that is disabled says since when, and is enabled again without a question", async () => {
    const { transport, calls } = server();
    await renderPage(<MembersPage />, { transport });
    const gone = await row("gone@acme");
    within(gone).getByText(/^Disabled/);
    within(gone).getByText("3 minutes ago");
    const menu = await openMenu("gone@acme.example");
    expect(offered(menu)).toEqual(["Change the role", "Enable", "Remove"]);
    await userEvent.click(within(menu).getByRole("menuitem", { name: "Enable" }));
    await waitFor(() => expect(within(gone).queryByText(/Disabled/)).toBeNull());
    expect(calls).toEqual(["mem_4 4: UNSPECIFIED false"]);
  });

  test("that somebody else has changed meanwhile is not disabled, and the dialog says so", async () => {
    const { transport } = server({ refuses: true });
    await renderPage(<MembersPage />, { transport });
    const menu = await openMenu("dev@acme.example");
    await userEvent.click(within(menu).getByRole("menuitem", { name: "Disable" }));
    await userEvent.click(await screen.findByRole("button", { name: "Disable member" }));
    const dialog = screen.getByRole("dialog", { name: "Disable dev@acme.example" });
    await within(dialog).findByText("The member has changed.");
    expect(within(dialog).queryByText(/routers? confirmed/)).toBeNull();
  });

  test("cannot disable themselves: nobody could take that back alone", async () => {
    const { transport } = server();
    await renderPage(<MembersPage />, { transport });
    expect(offered(await openMenu("owner@acme.example"))).toEqual(["Change the role", "Remove"]);
  });

  test("who is an owner is disabled by owners alone", async () => {
    const { transport } = server();
    await renderPage(<MembersPage />, { transport, role: Role.ADMIN });
    const owner = await screen.findByRole("button", { name: "Change second@acme.example" });
    expect(owner).toHaveProperty("disabled", true);
    expect(owner.title).toBe("Only an owner can change an owner.");
    expect(offered(await openMenu("dev@acme.example"))).toContain("Disable");
  });

  test("is seen to be disabled by viewers, who change nothing", async () => {
    const { transport } = server();
    await renderPage(<MembersPage />, { transport, role: Role.VIEWER });
    within(await row("gone@acme")).getByText(/^Disabled/);
    expect(screen.queryByRole("button", { name: /^Change/ })).toBeNull();
  });
});
