import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Router } from "./client.js";
import type {
  CompletionInputSchema,
  FinishReason,
  Provenance,
  StreamCompletionResponse,
  ToolCallDelta,
  Usage,
} from "./gen/claviger/router/v1/completion_pb.js";
import { Budget, retry } from "./retry.js";

type Input = MessageInitShape<typeof CompletionInputSchema>;

/** What came of a request. */
export interface Answer {
  /** Names the request in usage and for support. */
  requestId: string;
  text: string;
  toolCalls: { id: string; name: string; arguments: string }[];
  finishReason?: FinishReason;
  usage?: Usage | undefined;
  /** What served. How much of it depends on the API key. */
  provenance?: Provenance | undefined;
}

export interface CallOptions {
  /**
   * The budget for everything: calls, waiting between them, and the fallbacks inside the router, which
   * ends its call to the provider when the time is up.
   */
  timeoutMs: number;
  signal: AbortSignal;
}

/** Asks for an answer in one piece. */
export async function complete(router: Router, input: Input, { timeoutMs, signal }: CallOptions): Promise<Answer> {
  const budget = new Budget(timeoutMs);
  const response = await retry(budget, signal, () =>
    router.completions.complete({ input }, { signal, timeoutMs: budget.leftMs }),
  );
  const { requestId, message, finishReason, usage, provenance } = response;
  const text = (message?.parts ?? []).map((part) => (part.content.case === "text" ? part.content.value : ""));
  return { requestId, text: text.join(""), toolCalls: message?.toolCalls ?? [], finishReason, usage, provenance };
}

/** A stream that broke off. What came has been paid, and only the caller knows what half an answer is worth. */
export class BrokenOff extends Error {
  readonly answer: Answer;
  constructor(answer: Answer, cause: unknown) {
    super("the answer broke off", { cause });
    this.answer = answer;
  }
}

/** Asks for an answer piece by piece. Once something has come it is never asked for again. */
export async function stream(
  router: Router,
  input: Input,
  { timeoutMs, signal }: CallOptions,
  onText: (text: string) => void,
): Promise<Answer> {
  const budget = new Budget(timeoutMs);
  // Whoever leaves early cancels: the router then ends its call to the provider, and the cost with it.
  const leaving = new AbortController();
  const either = AbortSignal.any([signal, leaving.signal]);
  const answer: Answer = { requestId: "", text: "", toolCalls: [] };
  try {
    // Only up to the first event may the call be made again.
    const { events, first } = await retry(budget, either, async () => {
      const response = router.completions.streamCompletion({ input }, { signal: either, timeoutMs: budget.leftMs });
      const events = response[Symbol.asyncIterator]();
      return { events, first: await events.next() };
    });
    for (let next = first; !next.done; next = await events.next()) {
      add(answer, next.value, onText);
    }
    return answer; // the router ends well only after a finished event
  } catch (error) {
    throw answer.requestId ? new BrokenOff(answer, error) : error;
  } finally {
    leaving.abort();
  }
}

function add(answer: Answer, { event }: StreamCompletionResponse, onText: (text: string) => void): void {
  switch (event.case) {
    case "started":
      answer.requestId = event.value.requestId;
      break;
    case "text":
      answer.text += event.value;
      onText(event.value);
      break;
    case "toolCall":
      addToolCall(answer, event.value);
      break;
    case "finished":
      answer.finishReason = event.value.finishReason;
      answer.usage = event.value.usage;
      answer.provenance = event.value.provenance;
      break;
    default: // other events may come with later versions
  }
}

// Id and name come with the first piece, the arguments in parts that are JSON only when they are whole.
function addToolCall(answer: Answer, piece: ToolCallDelta): void {
  const call = answer.toolCalls[piece.index];
  if (call) call.arguments += piece.arguments;
  else answer.toolCalls[piece.index] = { id: piece.id, name: piece.name, arguments: piece.arguments };
}
