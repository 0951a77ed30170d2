import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { fireEvent, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it } from "vitest";
import {
  type CreateCredentialRequest,
  CredentialSchema,
  CredentialService,
  CredentialState,
} from "@/gen/claviger/keys/v1/credential_pb";
import { BadRequestSchema } from "@/gen/google/rpc/error_details_pb";
import { renderPage } from "@/test/render";
import { FirstKeyPage } from "./FirstKeyPage";

// A server that stores what it gets, after it has refused the first try if it is told to.
function server(refusal?: ConnectError) {
  const created: CreateCredentialRequest[] = [];
  let refuse = refusal;
  const transport = createRouterTransport(({ service }) => {
    service(CredentialService, {
      listCredentials: () => ({}),
      createCredential(request) {
        created.push(request);
        if (refuse) {
          const failure = refuse;
          refuse = undefined;
          throw failure;
        }
        return {
          credential: create(CredentialSchema, {
            id: "cred_1",
            provider: request.provider,
            label: request.label,
          }),
          warnings: request.secret.includes("ASIA")
            ? [{ field: "sessionToken", description: "is missing" }]
            : [],
        };
      },
      testCredential: () => ({
        credential: create(CredentialSchema, {
          id: "cred_1",
          provider: created.at(-1)?.provider ?? "",
          state: CredentialState.ACTIVE,
          models: ["a", "b"],
        }),
        tested: true,
      }),
    });
  });
  return { created, transport };
}

async function choose(search: string, name: string) {
  const user = userEvent.setup();
  await user.type(await screen.findByRole("searchbox", { name: "Find a provider" }), search);
  expect(screen.getByRole<HTMLInputElement>("radio", { name }).checked).toBe(true);
  await user.keyboard("{Enter}");
  return user;
}

const next = () => screen.getByRole("button", { name: "Continue" });

async function finish(user: ReturnType<typeof userEvent.setup>) {
  await user.click(next());
  await user.click(await screen.findByRole("checkbox"));
  await user.click(screen.getByRole("button", { name: "Store and test" }));
}

function paste(field: HTMLElement, text: string) {
  fireEvent.change(field, { target: { value: text } });
}

const inputs = () =>
  [...document.querySelectorAll("input, textarea")].map((each) => (each as HTMLInputElement).value);

describe("bringing a key of another form", () => {
  it("finds a provider by what it has, and takes a key alone", async () => {
    const { created, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await choose("kimi", "Moonshot AI");
    await user.type(await screen.findByLabelText("API key of Moonshot AI"), "sk-0123456789abcdef");
    await user.click(next());
    await user.selectOptions(screen.getByLabelText("Platform"), "China (platform.kimi.com)");
    await finish(user);
    await screen.findByText("It works: Moonshot AI accepts the key");
    expect(screen.getByText("The key reaches 2 models.")).toBeTruthy();
    expect(created[0]).toMatchObject({
      provider: "moonshot",
      secret: "sk-0123456789abcdef",
      baseUrl: "https://api.moonshot.cn/v1",
    });
  });

  it("fills Bedrock's fields in from JSON, and shows what the server wonders about", async () => {
    const { created, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await choose("bedrock", "AWS Bedrock");
    const json = await screen.findByLabelText("JSON");
    const whole = {
      accessKeyId: "ASIA-canary-0123456789",
      secretAccessKey: "canary-0123456789",
      region: "us-east-1",
    };
    paste(json, JSON.stringify(whole));
    expect((json as HTMLTextAreaElement).value).toBe("");
    expect(screen.getByLabelText<HTMLInputElement>("Secret access key").value).toBe("canary-0123456789");
    expect(screen.getByLabelText("Secret access key").getAttribute("type")).toBe("password");
    await user.click(next());
    await finish(user);
    await screen.findByText("It works: AWS Bedrock accepts the key");
    expect(screen.getByText("Stored, but look again")).toBeTruthy();
    expect(JSON.parse(created[0]?.secret ?? "")).toEqual(whole);
    expect(document.documentElement.outerHTML + inputs().join()).not.toContain("canary");
  });

  it("names every field of Bedrock's that is wrong, beside it", async () => {
    const { created, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await choose("aws", "AWS Bedrock");
    const region = await screen.findByLabelText<HTMLInputElement>("Region");
    await user.type(region, "Europe");
    await user.click(next());
    expect(described(region)).toContain("region's code");
    expect(described(screen.getByLabelText("Access key ID"))).toContain("Is missing.");
    expect(described(screen.getByLabelText("Secret access key"))).toContain("Is missing.");
    await user.click(screen.getByRole("radio", { name: "Bedrock API key" }));
    await user.type(
      screen.getByLabelText("Bedrock API key", { selector: "input[data-secret]" }),
      "ABSK-0123456789abcdef",
    );
    await user.clear(region);
    await user.type(region, "eu-central-1");
    await user.click(next());
    await finish(user);
    await screen.findByText("It works: AWS Bedrock accepts the key");
    expect(JSON.parse(created[0]?.secret ?? "")).toEqual({
      apiKey: "ABSK-0123456789abcdef",
      region: "eu-central-1",
    });
  });

  it("takes Azure's list line by line, or pasted", async () => {
    const { created, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await choose("azure", "Azure OpenAI");
    const line = (n: number) => within(screen.getByRole("group", { name: `Deployment ${n}` }));
    const pasted = [1, 2].map((n) => ({
      model_slug: `openai/m${n}`,
      endpoint_url: "https://acme.openai.azure.com",
      api_key: `canary-012345678${n}`,
      model_id: `d${n}`,
    }));
    paste(await screen.findByLabelText("JSON"), JSON.stringify(pasted));
    expect(line(2).getByLabelText<HTMLInputElement>("Model").value).toBe("openai/m2");
    await user.click(screen.getByRole("button", { name: "Add a deployment" }));
    expect(document.activeElement).toBe(line(3).getByLabelText("Model"));
    await user.click(next());
    expect(described(line(3).getByLabelText("Endpoint"))).toContain("Is missing.");
    await user.click(screen.getByRole("button", { name: "Remove deployment 1" }));
    await user.type(line(2).getByLabelText("Model"), "openai/m3");
    await user.type(line(2).getByLabelText("Deployment name"), "d3");
    await user.type(line(2).getByLabelText("Endpoint"), "http://acme.example");
    await user.type(line(2).getByLabelText("API key"), "canary-0123456783");
    await user.click(next());
    expect(described(line(2).getByLabelText("Endpoint"))).toContain("Must begin with https://");
    await user.clear(line(2).getByLabelText("Endpoint"));
    await user.type(line(2).getByLabelText("Endpoint"), "https://acme.example");
    await user.click(next());
    await finish(user);
    await screen.findByText("It works: Azure OpenAI accepts the key");
    expect(JSON.parse(created[0]?.secret ?? "")).toEqual([
      pasted[1],
      {
        model_slug: "openai/m3",
        endpoint_url: "https://acme.example",
        api_key: "canary-0123456783",
        model_id: "d3",
      },
    ]);
    expect(document.documentElement.outerHTML + inputs().join()).not.toContain("canary");
  });

  it("shows beside the field what the server refuses, and keeps what is no secret", async () => {
    const refusal = new ConnectError(
      "the secret is not in the provider's form",
      Code.InvalidArgument,
      undefined,
      [
        {
          desc: BadRequestSchema,
          value: { fieldViolations: [{ field: "[0].endpoint_url", description: "must be a public name" }] },
        },
      ],
    );
    const { transport } = server(refusal);
    await renderPage(<FirstKeyPage />, { transport });
    const user = await choose("azure", "Azure OpenAI");
    const pasted = {
      model_slug: "openai/m",
      endpoint_url: "https://10.0.0.1",
      api_key: "canary-0123456789",
      model_id: "d",
    };
    paste(await screen.findByLabelText("JSON"), JSON.stringify([pasted]));
    await user.click(next());
    await finish(user);
    expect(await screen.findByText("The key was not stored")).toBeTruthy();
    const endpoint = await screen.findByLabelText<HTMLInputElement>("Endpoint");
    expect(described(endpoint)).toContain("Must be a public name.");
    expect(endpoint.value).toBe("https://10.0.0.1");
    expect(screen.getByLabelText<HTMLInputElement>("API key").value).toBe("");
  });

  it("reads a service account's file, tells whose it is, and sends it with the location", async () => {
    const { created, transport } = server();
    await renderPage(<FirstKeyPage />, { transport });
    const user = await choose("vertex", "Google Vertex AI");
    const account = {
      type: "service_account",
      project_id: "acme-prod",
      private_key_id: "0123456789abcdef",
      private_key: "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
      client_email: "router@acme-prod.iam.gserviceaccount.com",
    };
    await user.click(await screen.findByRole("button", { name: "Continue" }));
    expect(await screen.findByText("Paste the JSON or choose its file.")).toBeTruthy();
    const file = new File([JSON.stringify({ ...account, type: "external_account" })], "a.json", {
      type: "application/json",
    });
    await user.upload(screen.getByLabelText("Service account's file"), file);
    expect((await screen.findByRole("alert")).textContent).toContain('type Is not "service_account"');
    await user.upload(
      screen.getByLabelText("Service account's file"),
      new File([JSON.stringify(account)], "a.json", { type: "application/json" }),
    );
    expect(await screen.findByText("router@acme-prod.iam.gserviceaccount.com")).toBeTruthy();
    expect(document.documentElement.outerHTML + inputs().join()).not.toContain("canary");
    const location = screen.getByLabelText("Location");
    await user.clear(location);
    await user.type(location, "europe-west4");
    await user.click(next());
    await finish(user);
    await screen.findByText("It works: Google Vertex AI accepts the key");
    expect(JSON.parse(created[0]?.secret ?? "")).toMatchObject({
      client_email: account.client_email,
      private_key: account.private_key.trim(),
      location: "europe-west4",
    });
  });
});

// What a screen reader says beside the name of an input.
function described(input: HTMLElement): string {
  const ids = input.getAttribute("aria-describedby")?.split(" ") ?? [];
  return ids.map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
}
