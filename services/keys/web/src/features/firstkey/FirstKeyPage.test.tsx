import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it } from "vitest";
import {
  type CreateCredentialRequest,
  CredentialSchema,
  CredentialService,
  CredentialState,
  type RotateCredentialRequest,
} from "@/gen/claviger/keys/v1/credential_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { renderPage } from "@/test/render";
import { FirstKeyPage } from "./FirstKeyPage";

const key = "sk-canary-0123456789abcdef";

// A server that takes one credential, and finds of its secrets those good that are not named bad.
function server({ refuseCreate }: { refuseCreate?: ConnectError } = {}) {
  const calls = { created: [] as CreateCredentialRequest[], rotated: [] as RotateCredentialRequest[] };
  let state = CredentialState.UNVERIFIED;
  let secret = "";
  let tested = true;
  let refusal = refuseCreate;
  const credential = () =>
    create(CredentialSchema, {
      id: "cred_1",
      provider: "openai",
      label: calls.created.at(-1)?.label ?? "",
      hint: `…${secret.slice(-4)}`,
      state,
      stateReason:
        state === CredentialState.REJECTED
          ? "the provider says (401): incorrect API key; replace the key"
          : "",
      etag: "1",
    });
  const transport = createRouterTransport(({ service }) => {
    service(CredentialService, {
      listCredentials: () => ({ credentials: [create(CredentialSchema, { id: "cred_0", label: "Taken" })] }),
      createCredential(request) {
        calls.created.push(request);
        if (refusal) {
          const failure = refusal;
          refusal = undefined;
          throw failure;
        }
        secret = request.secret;
        return { credential: credential() };
      },
      rotateCredential(request) {
        calls.rotated.push(request);
        secret = request.secret;
        return { credential: credential() };
      },
      testCredential() {
        state = secret.includes("bad") ? CredentialState.REJECTED : CredentialState.ACTIVE;
        return { credential: credential(), tested };
      },
    });
  });
  return {
    calls,
    transport,
    nobodyTests: () => {
      tested = false;
    },
  };
}

async function upToTerms(secret: string, label = "Search team") {
  const user = userEvent.setup();
  await user.click(await screen.findByRole("button", { name: "Continue" }));
  await user.type(screen.getByLabelText("API key of OpenAI"), secret);
  await user.click(screen.getByRole("button", { name: "Continue" }));
  await user.clear(screen.getByLabelText("Label"));
  await user.type(screen.getByLabelText("Label"), label);
  await user.click(screen.getByRole("button", { name: "Continue" }));
  return user;
}

async function store(secret: string, label?: string) {
  const user = await upToTerms(secret, label);
  await user.click(screen.getByRole("checkbox"));
  await user.click(screen.getByRole("button", { name: "Store and test" }));
  return user;
}

// Wherever a page could keep something.
function everything(queries: { getQueryCache: () => { getAll: () => unknown[] } }): string {
  const inputs = [...document.querySelectorAll("input")].map(({ value }) => value);
  const cache = queries.getQueryCache().getAll() as { queryKey: unknown; state: unknown }[];
  const seen = new WeakSet();
  return [
    document.documentElement.outerHTML,
    inputs.join(),
    location.href,
    JSON.stringify({ ...localStorage, ...sessionStorage }),
    ...cache.map(({ queryKey, state }) =>
      JSON.stringify([queryKey, state], (_, value) => {
        if (typeof value === "bigint") return String(value);
        if (typeof value === "object" && value !== null) {
          if (seen.has(value)) return undefined;
          seen.add(value);
        }
        return value;
      }),
    ),
  ].join("\n");
}

describe("bringing a key", () => {
  it("stores it, tests it, and says in words that it works", async () => {
    const { calls, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    await store(key);
    expect(await screen.findByText("It works: OpenAI accepts the key")).toBeTruthy();
    expect(calls.created[0]).toMatchObject({
      provider: "openai",
      label: "Search team",
      secret: key,
      acceptTerms: true,
    });
    expect(calls.created[0]?.idempotencyKey).not.toBe("");
    expect(screen.getByRole("link", { name: /Create a policy/ })).toBeTruthy();
  });

  it("leaves no trace of the key after it was sent", async () => {
    const { transport } = server();
    const { queries } = await renderPage(<FirstKeyPage />, { transport });
    await store(key);
    await screen.findByText("It works: OpenAI accepts the key");
    expect(everything(queries)).not.toContain("canary");
  });

  it("has the key in a password field that browsers do not remember", async () => {
    const { transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Continue" }));
    const field = screen.getByLabelText("API key of OpenAI");
    expect(field.getAttribute("type")).toBe("password");
    expect(field.getAttribute("autocomplete")).toBe("off");
  });

  it("sends nothing before the terms are accepted", async () => {
    const { calls, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await upToTerms(key);
    await user.click(screen.getByRole("button", { name: "Store and test" }));
    expect(await screen.findByText("Without this the key cannot be stored.")).toBeTruthy();
    expect(calls.created).toHaveLength(0);
  });

  it("says that the provider refuses a key, why, and takes another one for the same credential", async () => {
    const { calls, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await store("sk-bad-0123456789");
    expect(await screen.findByText("OpenAI refuses the key")).toBeTruthy();
    expect(screen.getByText("The provider says (401): incorrect API key.")).toBeTruthy();
    expect(screen.getByText("Replace the key.")).toBeTruthy();
    await user.click(screen.getByRole("button", { name: "Paste another key" }));
    await user.type(screen.getByLabelText("API key of OpenAI"), key);
    await user.click(screen.getByRole("button", { name: "Replace and test" }));
    expect(await screen.findByText("It works: OpenAI accepts the key")).toBeTruthy();
    expect(calls.created).toHaveLength(1);
    expect(calls.rotated[0]).toMatchObject({ id: "cred_1", secret: key, etag: "1" });
  });

  it("says that a key could not be tried when no router answers", async () => {
    const { nobodyTests, transport } = server();
    nobodyTests();
    await renderPage(<FirstKeyPage />, { transport });
    await store(key);
    expect(await screen.findByText("The key could not be tried")).toBeTruthy();
    expect(screen.getByRole("button", { name: "Test again" })).toBeTruthy();
  });

  it("asks for the key again when it was not stored, without having kept it", async () => {
    const { calls, transport } = server({ refuseCreate: new ConnectError("away", Code.Unavailable) });
    const { queries } = await renderPage(<FirstKeyPage />, { transport });
    const user = await store(key);
    expect(await screen.findByText("The key was not stored")).toBeTruthy();
    expect(everything(queries)).not.toContain("canary");
    await user.type(screen.getByLabelText("API key of OpenAI"), key);
    await user.click(screen.getByRole("button", { name: "Continue" }));
    await user.click(screen.getByRole("button", { name: "Continue" }));
    await user.click(screen.getByRole("checkbox"));
    await user.click(screen.getByRole("button", { name: "Store and test" }));
    expect(await screen.findByText("It works: OpenAI accepts the key")).toBeTruthy();
    // Nobody knew whether the first try had been stored: the second is the same change.
    expect(calls.created[1]?.idempotencyKey).toBe(calls.created[0]?.idempotencyKey);
  });

  it("notices a label that is taken before the key is sent", async () => {
    const { calls, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    await upToTerms(key, "Taken");
    expect(screen.getByText("There is a credential with this label already.")).toBeTruthy();
    expect(calls.created).toHaveLength(0);
  });

  it("is for owners, and says so to others", async () => {
    const { transport } = server();
    await renderPage(<FirstKeyPage />, { transport, role: Role.ADMIN });
    expect(await screen.findByText("An owner brings keys")).toBeTruthy();
    expect(screen.queryByRole("button", { name: "Continue" })).toBeNull();
  });
});
