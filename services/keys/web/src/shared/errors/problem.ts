import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@/gen/google/rpc/error_details_pb";

/** Problem is a failure as a person needs it: what happened, whose part it is, what to do next. */
export type Problem = {
  /** What happened, as the server said it, without a hint. Empty: use the words for `code`. */
  message: string;
  /** What to do next, as the server said it. */
  hint: string;
  code: Code;
  /** The stable word of the server, such as "CREDENTIAL_LABEL_TAKEN". */
  reason: string;
  /** Facts such as the label of a credential; also what the server calls blame. */
  facts: Record<string, string>;
  /** Broken rules by field name. */
  fields: Record<string, string>;
  requestId: string;
  /** Seconds until another try makes sense; 0 says nothing about it. */
  retryAfter: number;
  /** Whether the same call may work a little later. */
  temporary: boolean;
  /** Whether the server was not reached at all. */
  offline: boolean;
};

/** problemOf reads what the server says about a failure. */
export function problemOf(error: unknown): Problem {
  const failure = ConnectError.from(error);
  const info = failure.findDetails(ErrorInfoSchema)[0];
  const facts = { ...info?.metadata };
  const hint = take(facts, "hint");
  const requestId = take(facts, "request_id") || failure.metadata.get("x-request-id") || "";
  const delay = failure.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const fields: Record<string, string> = {};
  for (const bad of failure.findDetails(BadRequestSchema)) {
    for (const violation of bad.fieldViolations) fields[violation.field] ??= violation.description;
  }
  // Browsers say no more than "TypeError: Failed to fetch", each in its own words.
  const offline = !info && failure.cause instanceof TypeError;
  const known = info !== undefined || failure.code !== Code.Unknown;
  return {
    message: known && !offline ? withoutHint(failure.rawMessage, hint) : "",
    hint,
    code: offline ? Code.Unavailable : failure.code,
    reason: info?.reason ?? "",
    facts,
    fields,
    requestId,
    retryAfter: delay ? Number(delay.seconds) + (delay.nanos > 0 ? 1 : 0) : 0,
    temporary: offline || failure.code === Code.Unavailable || failure.code === Code.DeadlineExceeded,
    offline,
  };
}

/** isCode says whether an error has one of the codes. */
export function isCode(error: unknown, ...codes: Code[]): boolean {
  return codes.includes(ConnectError.from(error).code);
}

// The server's message is "message: hint" for clients that read nothing else.
function withoutHint(message: string, hint: string): string {
  const end = `: ${hint}`;
  return hint && message.endsWith(end) ? message.slice(0, -end.length) : message;
}

function take(facts: Record<string, string>, name: string): string {
  const value = facts[name] ?? "";
  delete facts[name];
  return value;
}
