import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { MemberSchema } from "@/gen/claviger/keys/v1/member_pb";
import { OrganizationSchema } from "@/gen/claviger/keys/v1/organization_pb";
import { SessionService } from "@/gen/claviger/keys/v1/session_pb";
import { type Ending, renewAhead, Sessions, SignedOutError } from "./sessions";
import { authorize } from "./transport";

// A server with one cookie per organization, and access tokens that live for five minutes.
function server() {
  const state = {
    now: 1_000_000,
    cookie: false,
    refreshes: 0,
    issued: 0,
    signedOutWith: "",
    away: false,
    gate: Promise.resolve(),
  };
  const answer = () => ({
    accessToken: `token-${++state.issued}`,
    accessExpireTime: timestampFromMs(state.now + 300_000),
    member: create(MemberSchema, { id: "mem_1", email: "owner@acme.example" }),
    organization: create(OrganizationSchema, { slug: "acme", name: "Acme" }),
  });
  const transport = createRouterTransport(({ service }) => {
    service(SessionService, {
      signIn(request) {
        if (request.password !== "right") throw new ConnectError("wrong", Code.Unauthenticated);
        if (!request.cookie) throw new ConnectError("the page must ask for a cookie", Code.InvalidArgument);
        state.cookie = true;
        return answer();
      },
      async refreshSession({ organization, sessionToken }) {
        state.refreshes++;
        await state.gate;
        if (state.away) throw new ConnectError("away", Code.Unavailable);
        if (!state.cookie || organization !== "acme" || sessionToken !== "") {
          throw new ConnectError("not signed in", Code.Unauthenticated);
        }
        return answer();
      },
      signOut(_, { requestHeader }) {
        if (state.away) throw new ConnectError("away", Code.Unavailable);
        state.signedOutWith = requestHeader.get("Authorization") ?? "";
        state.cookie = false;
        return {};
      },
    });
  });
  const sessions = new Sessions(createClient(SessionService, transport), () => state.now);
  const endings: (Ending | undefined)[] = [];
  sessions.subscribe((_, ending) => endings.push(ending));
  return { state, sessions, endings };
}

describe("Sessions", () => {
  it("keeps the token of a sign-in until shortly before it dies", async () => {
    const { state, sessions } = server();
    await sessions.signIn("acme", "owner@acme.example", "right");
    state.now += 300_000 - renewAhead - 1;
    expect(await sessions.token("acme")).toBe("token-1");
    expect(state.refreshes).toBe(0);
    state.now += 1;
    expect(await sessions.token("acme")).toBe("token-2");
    expect(state.refreshes).toBe(1);
  });

  it("renews once for all who wait", async () => {
    const { state, sessions } = server();
    state.cookie = true;
    const tokens = await Promise.all([1, 2, 3, 4].map(() => sessions.token("acme")));
    expect(new Set(tokens)).toEqual(new Set(["token-1"]));
    expect(state.refreshes).toBe(1);
  });

  it("finds the session of an earlier page by the cookie alone", async () => {
    const { state, sessions } = server();
    state.cookie = true;
    expect((await sessions.ensure("acme")).member.email).toBe("owner@acme.example");
  });

  it("says that nobody is signed in without a cookie", async () => {
    const { sessions, endings } = server();
    await expect(sessions.ensure("acme")).rejects.toBeInstanceOf(SignedOutError);
    expect(endings).toEqual(["expired"]);
  });

  it("does not end a session because the server is away for a moment", async () => {
    const { state, sessions, endings } = server();
    await sessions.signIn("acme", "owner@acme.example", "right");
    state.now += 300_000;
    state.away = true;
    await expect(sessions.token("acme")).rejects.toMatchObject({ code: Code.Unavailable });
    expect(sessions.signed("acme")).toBeDefined();
    state.away = false;
    expect(await sessions.token("acme")).toBe("token-2");
    expect(endings).not.toContain("expired");
  });

  it("signs out at the server, too, and forgets the token", async () => {
    const { state, sessions, endings } = server();
    await sessions.signIn("acme", "owner@acme.example", "right");
    await sessions.signOut("acme");
    expect(state.signedOutWith).toBe("Bearer token-1");
    expect(sessions.signed("acme")).toBeUndefined();
    expect(endings.at(-1)).toBe("signed-out");
    await expect(sessions.token("acme")).rejects.toBeInstanceOf(SignedOutError);
  });

  it("says so when the server could not be told of a sign-out", async () => {
    const { state, sessions, endings } = server();
    await sessions.signIn("acme", "owner@acme.example", "right");
    state.away = true;
    await sessions.signOut("acme");
    expect(sessions.signed("acme")).toBeUndefined();
    expect(endings.at(-1)).toBe("unsure");
  });

  it("is not brought back by a renewal that was under way when it ended", async () => {
    const { state, sessions } = server();
    state.cookie = true;
    let open = () => {};
    state.gate = new Promise((resolve) => {
      open = resolve;
    });
    const waiting = sessions.token("acme");
    sessions.drop("acme", "signed-out");
    open();
    await expect(waiting).rejects.toBeInstanceOf(SignedOutError);
    expect(sessions.signed("acme")).toBeUndefined();
  });

  it("keeps tokens out of storage", async () => {
    const { sessions } = server();
    await sessions.signIn("acme", "owner@acme.example", "right");
    expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain("token-");
    expect(document.cookie).toBe("");
  });
});

describe("authorize", () => {
  function behind(accepts: (token: string) => boolean) {
    const { state, sessions } = server();
    const seen: string[] = [];
    const transport = createRouterTransport(
      ({ service }) => {
        service(CredentialService, {
          listCredentials(_, { requestHeader }) {
            const token = (requestHeader.get("Authorization") ?? "").replace("Bearer ", "");
            seen.push(token);
            if (!accepts(token)) throw new ConnectError("the token is dead", Code.Unauthenticated);
            return {};
          },
        });
      },
      { transport: { interceptors: [authorize(sessions, "acme")] } },
    );
    return { state, sessions, seen, client: createClient(CredentialService, transport) };
  }

  it("tries a refused call once more, with a new token", async () => {
    const { sessions, seen, client } = behind((token) => token === "token-2");
    await sessions.signIn("acme", "owner@acme.example", "right");
    await client.listCredentials({});
    expect(seen).toEqual(["token-1", "token-2"]);
  });

  it("does not try forever", async () => {
    const { sessions, seen, client } = behind(() => false);
    await sessions.signIn("acme", "owner@acme.example", "right");
    await expect(client.listCredentials({})).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(seen).toEqual(["token-1", "token-2"]);
  });

  it("renews once for many refused calls", async () => {
    const { state, sessions, client } = behind((token) => token !== "token-1");
    await sessions.signIn("acme", "owner@acme.example", "right");
    await Promise.all([client.listCredentials({}), client.listCredentials({}), client.listCredentials({})]);
    expect(state.refreshes).toBe(1);
  });

  it("ends the session when the cookie is gone as well", async () => {
    const { state, sessions, client } = behind(() => false);
    await sessions.signIn("acme", "owner@acme.example", "right");
    state.cookie = false;
    await expect(client.listCredentials({})).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(sessions.signed("acme")).toBeUndefined();
  });
});
