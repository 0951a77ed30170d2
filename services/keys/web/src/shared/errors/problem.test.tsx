import { Code, ConnectError } from "@connectrpc/connect";
import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@/gen/google/rpc/error_details_pb";
import { ProblemPanel } from "./ProblemPanel";
import { problemOf } from "./problem";

function fault(code: Code, message: string, metadata: Record<string, string> = {}, headers?: HeadersInit) {
  const failure = new ConnectError(message, code, headers, [
    { desc: ErrorInfoSchema, value: { reason: "REASON", domain: "claviger", metadata } },
  ]);
  return failure;
}

function show(error: unknown, props: Partial<React.ComponentProps<typeof ProblemPanel>> = {}) {
  render(
    <MantineProvider withCssVariables={false} withGlobalClasses={false} env="test">
      <ProblemPanel error={error} {...props} />
    </MantineProvider>,
  );
  return screen.getByRole("alert");
}

describe("ProblemPanel", () => {
  it("says what happened and what to do next in the server's words, each once", () => {
    const panel = show(
      fault(Code.Aborted, "a credential with this label exists already: choose another label", {
        hint: "choose another label",
        blame: "caller",
      }),
    );
    expect(panel.textContent).toBe("A credential with this label exists already.Choose another label.");
  });

  it("shows the request id to copy", () => {
    const panel = show(fault(Code.Internal, "internal error", { request_id: "req_1" }));
    expect(panel.textContent).toContain("req_1");
    expect(screen.getByRole("button", { name: "Copy Request id" })).toBeTruthy();
  });

  it("takes the request id from the answer's header as well", () => {
    expect(problemOf(fault(Code.NotFound, "gone", {}, { "x-request-id": "req_2" })).requestId).toBe("req_2");
  });

  it("speaks of the connection when the server is not reached", () => {
    const panel = show(
      new ConnectError("Failed to fetch", Code.Unknown, undefined, undefined, new TypeError()),
    );
    expect(panel.textContent).toContain("Claviger cannot be reached.");
    expect(panel.textContent).not.toContain("Failed to fetch");
  });

  it("names the fields that break a rule", () => {
    const error = fault(Code.InvalidArgument, "the request breaks a rule");
    error.details.push({
      desc: BadRequestSchema,
      value: { fieldViolations: [{ field: "label", description: "is too long" }] },
    });
    expect(show(error).textContent).toContain("label is too long");
  });

  it("says when to try again", () => {
    const error = fault(Code.ResourceExhausted, "too many failed sign-ins", { hint: "wait" });
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay: { seconds: 29n, nanos: 1 } } });
    expect(show(error).textContent).toContain("Try again in 30 seconds.");
  });

  it("leaves what people and providers wrote inert", () => {
    const panel = show(fault(Code.Unavailable, "<img src=x onerror=alert(1)> is away"));
    expect(panel.querySelector("img")).toBeNull();
    expect(panel.textContent).toContain("<img src=x onerror=alert(1)> is away");
  });

  it("offers to try again", async () => {
    const retry = vi.fn();
    show(fault(Code.Unavailable, "away"), { onRetry: retry });
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(retry).toHaveBeenCalledOnce();
  });
});

describe("problemOf", () => {
  it("tells what may pass by itself from what will not", () => {
    expect(problemOf(fault(Code.Unavailable, "away")).temporary).toBe(true);
    expect(problemOf(fault(Code.Aborted, "changed")).temporary).toBe(false);
  });

  it("never shows an exception's own words", () => {
    expect(problemOf(new Error("x is not a function")).message).toBe("");
  });
});
