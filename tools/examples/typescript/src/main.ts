// Asks a router one question and prints the answer, what served it and what it took. It shows how the
// client is used.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Code } from "@connectrpc/connect";
import { dial } from "./client.js";
import { type Answer, BrokenOff, complete, stream } from "./complete.js";
import { CredentialClass, UsageSource } from "./gen/claviger/events/v1/usage_event_pb.js";
import { FinishReason, MessageRole } from "./gen/claviger/router/v1/completion_pb.js";
import { explain } from "./retry.js";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "base-url": { type: "string", default: "https://localhost:8081" },
    ca: { type: "string" },
    "key-file": { type: "string", default: "api.key" },
    model: { type: "string", default: "" },
    fallback: { type: "string", default: "" },
    "max-price": { type: "string" },
    stream: { type: "boolean", default: false },
    tool: { type: "string" },
    "timeout-ms": { type: "string", default: "60000" },
    health: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  const interrupt = new AbortController(); // Ctrl-C cancels the call
  process.once("SIGINT", () => interrupt.abort());
  const router = dial({
    baseUrl: flags["base-url"],
    apiKey: readFileSync(flags["key-file"], "utf8").trim(), // flags and environments are seen by other processes
    ...(flags.ca ? { ca: readFileSync(flags.ca, "utf8") } : {}),
    traceparent: () => process.env.TRACEPARENT,
  });
  const options = { timeoutMs: Number(flags["timeout-ms"]), signal: interrupt.signal };
  if (flags.health) {
    process.stdout.write((await router.healthy(options.timeoutMs)) ? "serving\n" : "not serving\n");
    return;
  }
  const input = {
    model: flags.model,
    messages: [
      { role: MessageRole.USER, parts: [{ content: { case: "text" as const, value: positionals.join(" ") } }] },
    ],
    // It can only choose among what the organization allows.
    routing: {
      models: flags.fallback.split(",").filter(Boolean),
      ...(flags["max-price"] ? { maxPrice: { outputNanoUsdPerMillion: BigInt(flags["max-price"]) } } : {}),
    },
    tools: flags.tool ? [{ name: flags.tool, parametersJson: '{"type":"object"}' }] : [],
  };
  const show = (text: string) => void process.stdout.write(text);
  if (flags.stream) {
    printFacts(await stream(router, input, options, show));
    return;
  }
  const answer = await complete(router, input, options);
  show(answer.text);
  printFacts(answer);
}

/** What is known of the answer beside its text. */
function printFacts({ requestId, finishReason, toolCalls, usage, provenance }: Answer): void {
  const facts = {
    requestId,
    finishReason: FinishReason[finishReason ?? FinishReason.UNSPECIFIED],
    model: provenance?.model ?? "",
    credentialClass: CredentialClass[provenance?.credentialClass ?? CredentialClass.UNSPECIFIED],
    policy: provenance?.policy ?? "",
    costNanoUsd: provenance?.costNanoUsd === undefined ? null : Number(provenance.costNanoUsd),
    attempts: (provenance?.attempts ?? []).map(({ model, errorClass }) => ({ model, errorClass })),
    toolCalls: toolCalls.map(({ name, arguments: text }) => ({ name, arguments: text })),
    inputTokens: Number(usage?.tokens?.inputTotal ?? 0n),
    outputTokens: Number(usage?.tokens?.outputTotal ?? 0n),
    usageSource: UsageSource[usage?.source ?? UsageSource.UNSPECIFIED],
  };
  process.stderr.write(`${JSON.stringify(facts)}\n`);
}

try {
  await main();
} catch (error) {
  const { code, reason, message, hint } = explain(error instanceof BrokenOff ? error.cause : error);
  process.stderr.write(`${Code[code]} ${reason}: ${message}\n`);
  if (hint) process.stderr.write(`next: ${hint}\n`);
  process.exitCode = 1;
}
// The connection is kept for later calls; a command has none.
process.exit();
