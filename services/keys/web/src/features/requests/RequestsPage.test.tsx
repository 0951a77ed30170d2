import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { act, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { describe, expect, test, vi } from "vitest";
import {
  CredentialClass,
  Outcome,
  type UsageEvent,
  type UsageEventSchema,
  UsageSource,
} from "@/gen/claviger/events/v1/usage_event_pb";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { TraceService } from "@/gen/claviger/metering/v1/trace_pb";
import {
  type Attempt,
  AttemptSchema,
  CostSource,
  Dimension,
  type ListRequestsRequest,
  UsageService,
  type WatchRequestsRequest,
} from "@/gen/claviger/metering/v1/usage_pb";
import { renderPage } from "@/test/render";
import { RequestView } from "./RequestPage";
import { RequestsView } from "./RequestsPage";
import type { RequestsSearch } from "./search";

type More = {
  number?: number;
  outcome?: Outcome;
  errorClass?: string;
  cost?: bigint | undefined;
  source?: UsageSource;
  costSource?: CostSource;
  event?: Exclude<MessageInitShape<typeof UsageEventSchema>, UsageEvent>;
};

// A job for a video, before and after its end.
const begun: More = {
  cost: undefined,
  event: { operation: "videos", tokens: undefined, dialect: "openai.videos" },
};
const film: More = {
  cost: 3_000_000_000n,
  costSource: CostSource.PROVIDER,
  event: {
    ...begun.event,
    revision: 1,
    units: [
      { name: "credit", milli: 60_000n },
      { name: "second", milli: 5_000n },
    ],
    reportedCostNanoUsd: 3_000_000_000n,
  },
};

function attempt(id: string, ended: number, more: More = {}) {
  const { number = 1, outcome = Outcome.OK } = more;
  return create(AttemptSchema, {
    event: {
      attemptId: `att_${id}_${number}`,
      requestId: `req_${id}`,
      attemptNumber: number,
      model: `openai/${id}-${number}`,
      provider: "openai",
      requestedModel: "policy/main",
      credentialClass: CredentialClass.OWN,
      apiKeyId: "key_1",
      outcome,
      errorClass: more.errorClass ?? "",
      httpStatus: more.errorClass ? 429 : 200,
      endedTime: timestampFromMs(Date.parse("2026-11-22T10:00:00Z") + ended * 1000),
      durationMicros: 1_040_000n,
      firstContentMicros: outcome === Outcome.OK ? 141_000n : 0n,
      usageSource: more.source ?? UsageSource.PROVIDER_FINAL,
      tokens: { inputTotal: 1200n, inputUncached: 200n, cacheRead: 1000n, outputTotal: 50n, reasoning: 20n },
      traceId: "0af7651916cd43dd8448eb211c80319c",
      policyId: "pol_1",
      policyVersion: 4n,
      targetIndex: 1,
      ...more.event,
    },
    costSource: more.costSource ?? CostSource.UNSPECIFIED,
    costNanoUsd: "cost" in more ? more.cost : 29_100n,
    priceId: "price_1",
  });
}

// A server that sends what push is given to every open watch.
function server({ live = true } = {}) {
  const watches: { request: WatchRequestsRequest; ended: boolean }[] = [];
  const listed: ListRequestsRequest[] = [];
  const open = new Set<(batch: { sent: Attempt[]; token: string }) => void>();
  let list = [attempt("b", 2), attempt("a", 1)];
  const transport = createRouterTransport(({ service }) => {
    service(UsageService, {
      listRequests(request) {
        listed.push(request);
        return request.pageToken === "2"
          ? { attempts: [attempt("a", 0, { number: 0, outcome: Outcome.ERROR, errorClass: "overloaded" })] }
          : { attempts: list, nextPageToken: "2" };
      },
      async *watchRequests(request, context) {
        if (!live) throw new ConnectError("not here", Code.Unimplemented);
        const watch = { request, ended: false };
        watches.push(watch);
        try {
          yield { resumeToken: request.resumeToken || "t0" };
          while (!context.signal.aborted) {
            const batch = await new Promise<{ sent: Attempt[]; token: string }>((resolve, reject) => {
              open.add(resolve);
              context.signal.addEventListener("abort", () => reject(new ConnectError("gone", Code.Canceled)));
            });
            open.clear();
            yield { attempts: batch.sent, resumeToken: batch.token };
          }
        } finally {
          watch.ended = true;
        }
      },
    });
    service(ApiKeyService, { listApiKeys: () => ({ apiKeys: [{ id: "key_1", name: "shop" }] }) });
  });
  return {
    transport,
    watches,
    listed,
    add: (...more: typeof list) => {
      list = [...more, ...list];
    },
    push: async (token: string, ...what: (string | Attempt)[]) => {
      const sent = what.map((each, at) => (typeof each === "string" ? attempt(each, 10 + at) : each));
      await waitFor(() => expect(open.size).toBeGreaterThan(0));
      await act(async () => {
        for (const send of open) send({ sent, token });
      });
    },
  };
}

const searches: RequestsSearch[] = [];

function Harness({ first = {} }: { first?: RequestsSearch }) {
  const [search, setSearch] = useState<RequestsSearch>(first);
  searches.push(search);
  return (
    <RequestsView search={search} onSearch={(part) => setSearch((before) => ({ ...before, ...part }))} />
  );
}

const shown = () =>
  [...document.querySelectorAll("tbody tr")].map(
    (row) => row.querySelector("a")?.getAttribute("href")?.split("/").at(-1) ?? "",
  );

describe("the list of requests", () => {
  test("shows a new request without a reload, once, marked as new", async () => {
    const { transport, push, add } = server();
    await renderPage(<Harness />, { transport });
    await screen.findByText("Live");
    expect(shown()).toEqual(["req_b", "req_a"]);
    add(attempt("c", 10)); // a later reading of the list has it, too
    await push("t1", "c");
    await waitFor(() => expect(shown()).toEqual(["req_c", "req_b", "req_a"]));
    expect(screen.getByText("openai/c-1").closest("tr")?.dataset["new"]).toBe("true");
    await screen.findByText("1 new request", {}, { timeout: 5_000 });
    await push("t2", "c", "d");
    await waitFor(() => expect(shown()).toEqual(["req_d", "req_c", "req_b", "req_a"]));
  });

  test("puts a later truth into the row of its attempt, and adds none", async () => {
    const { transport, push } = server();
    await renderPage(<Harness />, { transport });
    await screen.findByText("Live");
    await push("t1", attempt("v", 10, begun));
    const row = (await screen.findByText("openai/v-1")).closest("tr") as HTMLElement;
    expect(within(row).getByText("Under way")).toBeDefined();
    expect(within(row).getByText("Unknown")).toBeDefined();
    await push("t2", attempt("v", 12, film));
    await within(row).findByText("5 s of video");
    expect(within(row).getByText("OK")).toBeDefined();
    expect(within(row).getByText("$3.00")).toBeDefined();
    expect(shown()).toEqual(["req_v", "req_b", "req_a"]);
    expect(within(row).queryByText("2 attempts")).toBeNull();
    // What was counted first comes again, from a page that was read late.
    await push("t3", attempt("v", 10, begun));
    await push("t4", "c");
    await screen.findByText("openai/c-1");
    expect(screen.getAllByText("openai/v-1")).toHaveLength(1);
    expect(within(row).getByText("$3.00")).toBeDefined();
  });

  test("goes on where it was paused, so that nothing is missed", async () => {
    const { transport, push, watches } = server();
    await renderPage(<Harness />, { transport });
    await screen.findByText("Live");
    await push("t1", "c");
    await userEvent.click(screen.getByRole("button", { name: "Pause" }));
    await screen.findByText("Paused");
    await waitFor(() => expect(watches[0]?.ended).toBe(true));
    expect(shown()).toEqual(["req_c", "req_b", "req_a"]);
    await userEvent.click(screen.getByRole("button", { name: "Resume" }));
    await screen.findByText("Live");
    expect(watches.at(-1)?.request.resumeToken).toBe("t1");
    expect(shown()).toEqual(["req_c", "req_b", "req_a"]);
  });

  test("stops while nobody looks, and when the page is left", async () => {
    const { transport, watches } = server();
    const { unmount } = await renderPage(<Harness />, { transport });
    await screen.findByText("Live");
    const visibility = (state: string) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      act(() => void document.dispatchEvent(new Event("visibilitychange")));
    };
    visibility("hidden");
    await waitFor(() => expect(watches.every(({ ended }) => ended)).toBe(true));
    visibility("visible");
    await screen.findByText("Live");
    expect(watches.at(-1)?.request.resumeToken).toBe("t0");
    unmount();
    await waitFor(() => expect(watches.every(({ ended }) => ended)).toBe(true));
  });

  test("brings attempts together that stand on two pages", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "Load more" }));
    const first = await screen.findByText("openai/a-0");
    const row = first.closest("tr") as HTMLElement;
    expect(within(row).getByText("openai/a-1")).toBeDefined();
    expect(within(row).getByText("2 attempts")).toBeDefined();
    expect(shown()).toEqual(["req_b", "req_a"]);
  });

  test("asks list and watch for the same when it is narrowed down", async () => {
    const { transport, watches, listed } = server();
    await renderPage(<Harness first={{ key: "key_1" }} />, { transport });
    await screen.findByText("Live");
    await userEvent.click(screen.getByRole("switch", { name: "Errors only" }));
    expect(searches.at(-1)).toEqual({ key: "key_1", errors: true });
    await waitFor(() => expect(watches.at(-1)?.request.errorsOnly).toBe(true));
    expect(watches.at(-1)?.request.resumeToken).toBe("");
    for (const request of [watches.at(-1)?.request, listed.at(-1)]) {
      expect(request?.errorsOnly).toBe(true);
      expect(request?.filters.map(({ dimension, values }) => [dimension, values])).toEqual([
        [Dimension.API_KEY, ["key_1"]],
      ]);
    }
  });

  test("reads the list again and again where the server sends nothing by itself", async () => {
    const { transport } = server({ live: false });
    await renderPage(<Harness />, { transport });
    await screen.findByText("Refreshed every 5 s");
    expect(shown()).toEqual(["req_b", "req_a"]);
  });
});

describe("one request", () => {
  function one(
    attempts: ReturnType<typeof attempt>[],
    trace: Parameters<typeof createRouterTransport>[0] = () => undefined,
    known = true,
  ) {
    return createRouterTransport((router) => {
      router.service(UsageService, {
        getRequest: ({ requestId }) => ({
          requestId,
          attempts,
          costNanoUsd: attempts.reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0n), 0n),
          costKnown: known,
        }),
      });
      trace(router);
    });
  }

  test("is told with its attempts, what an error means, its exact cost and its tokens by class", async () => {
    const transport = one([
      attempt("x", 1, {
        number: 1,
        outcome: Outcome.ERROR,
        errorClass: "rate_limited",
        source: UsageSource.NONE,
        cost: 0n,
        event: { targetIndex: 0, credentialRevision: 3, groupId: "grp_1" },
      }),
      attempt("x", 2, { number: 2 }),
    ]);
    await renderPage(<RequestView id="req_x" />, { transport });
    const [first, second] = (await screen.findAllByText(/^openai\/x-\d$/, { selector: "li code" })).map(
      (code) => code.closest("li") as HTMLElement,
    );
    expect(within(first as HTMLElement).getByText(/The provider's rate limit was reached/)).toBeDefined();
    expect(within(first as HTMLElement).getByText(/add a line to the policy/)).toBeDefined();
    expect(within(first as HTMLElement).getByText("rate_limited, HTTP 429")).toBeDefined();
    expect(within(first as HTMLElement).getByText("None used")).toBeDefined();
    expect(within(second as HTMLElement).getByText("OK")).toBeDefined();
    expect(within(second as HTMLElement).getByText("Counted by the provider")).toBeDefined();
    expect(screen.getAllByText("$0.0000291")).toHaveLength(2);
    expect(screen.getAllByText("of it from a cache")[0]?.nextSibling?.textContent).toBe("1,000");
    expect(screen.getByText("0af7651916cd43dd8448eb211c80319c")).toBeDefined();
    // Each attempt says which line of which version chose it, with which key, and its price.
    expect(within(first as HTMLElement).getByText("version 4, line 1")).toBeDefined();
    expect(within(first as HTMLElement).getByText("its key no. 3")).toBeDefined();
    expect(within(second as HTMLElement).getByText("version 4, line 2")).toBeDefined();
    expect(within(second as HTMLElement).queryByText(/its key no/)).toBeNull();
    expect(within(second as HTMLElement).getByText("price_1")).toBeDefined();
    expect(await screen.findByText("This installation does not show traces.")).toBeDefined();
  });

  test("marks what is estimated, and says unknown cost and not zero", async () => {
    const transport = one(
      [attempt("x", 1, { source: UsageSource.ESTIMATED, cost: undefined })],
      undefined,
      false,
    );
    await renderPage(<RequestView id="req_x" />, { transport });
    await screen.findByText("estimated");
    expect(screen.getAllByText("Unknown")).toHaveLength(2);
    expect(screen.queryByText(/\$0\.00/)).toBeNull();
  });

  test("that made a video says how much of it, who says what it cost, and that it is a later truth", async () => {
    await renderPage(<RequestView id="req_x" />, { transport: one([attempt("x", 1, film)]) });
    const card = (await screen.findByText("openai/x-1", { selector: "li code" })).closest(
      "li",
    ) as HTMLElement;
    expect(within(card).getByText("5 s of video")).toBeDefined();
    expect(within(card).getByText("60 credits")).toBeDefined();
    expect(within(card).getByText("What the provider says")).toBeDefined();
    expect(within(card).getByText(/^A later truth/).parentElement?.textContent).toMatch(/^1/);
    expect(within(card).queryByText("Tokens")).toBeNull();
    expect(screen.getByText("Video").parentElement?.textContent).toContain("openai.videos");
  });

  test("says what the provider says, too, where the price book decides", async () => {
    const priced: More = {
      costSource: CostSource.PRICE,
      event: {
        operation: "images",
        units: [{ name: "image", milli: 2_000n }],
        reportedCostNanoUsd: 41_000_000n,
      },
    };
    await renderPage(<RequestView id="req_x" />, { transport: one([attempt("x", 1, priced)]) });
    await screen.findByText("By the price book");
    expect(screen.getByText("The provider says $0.041")).toBeDefined();
    expect(screen.getAllByText("2 images")).toHaveLength(2);
    expect(screen.getAllByText("Input")).toHaveLength(2);
    expect(screen.getAllByText("Counted by the provider")).toHaveLength(1);
    expect(screen.queryByText(/later truth/)).toBeNull();
  });

  test("whose job is under way promises its numbers for the end, and looks for them", async () => {
    vi.useFakeTimers({ shouldAdvanceTime: true });
    try {
      let ended = false;
      const transport = createRouterTransport(({ service }) =>
        service(UsageService, {
          getRequest: ({ requestId }) => ({
            requestId,
            attempts: [attempt("x", 1, ended ? film : begun)],
            costNanoUsd: ended ? 3_000_000_000n : 0n,
            costKnown: ended,
          }),
        }),
      );
      await renderPage(<RequestView id="req_x" />, { transport });
      await screen.findAllByText("Under way");
      expect(screen.getAllByText("Known when the job ends").length).toBeGreaterThan(0);
      expect(screen.queryByText("Not known, which is not zero")).toBeNull();
      ended = true;
      await act(() => vi.advanceTimersByTimeAsync(5_000));
      await screen.findAllByText("5 s of video");
      expect(screen.queryByText("Under way")).toBeNull();
    } finally {
      vi.useRealTimers();
    }
  });

  test("draws its steps, which the arrow keys walk through, with the facts of the chosen one", async () => {
    const at = (micros: number) => ({ seconds: 1_795_000_000n, nanos: micros * 1000 });
    const transport = one([attempt("x", 1)], ({ service }) =>
      service(TraceService, {
        getTrace: () => ({
          traceId: "t",
          link: "https://traces.acme.example/t",
          spans: [
            {
              spanId: "1",
              name: "POST /v1/chat/completions",
              service: "router",
              startTime: at(0),
              durationMicros: 900n,
            },
            {
              spanId: "2",
              parentSpanId: "1",
              name: "apply usage",
              service: "metering",
              startTime: at(400),
              durationMicros: 100n,
              error: true,
              attributes: { "db.system": "sqlite" },
            },
          ],
        }),
      }),
    );
    await renderPage(<RequestView id="req_x" />, { transport });
    const [root, child] = await screen.findAllByRole("treeitem");
    expect(child?.getAttribute("aria-label")).toBe("metering: apply usage, 100 µs, from 400 µs, failed");
    expect(child?.getAttribute("aria-level")).toBe("2");
    act(() => root?.focus());
    await userEvent.keyboard("{ArrowDown}");
    expect(document.activeElement).toBe(child);
    expect(child?.getAttribute("aria-selected")).toBe("true");
    expect(screen.getByText("db.system")).toBeDefined();
    await userEvent.keyboard("{ArrowLeft}");
    expect(document.activeElement).toBe(root);
    expect(screen.getByRole("link", { name: "Open in the trace viewer" }).getAttribute("href")).toBe(
      "https://traces.acme.example/t",
    );
  });

  test("says why there are no steps, and makes no link of what is no web address", async () => {
    const transport = one([attempt("x", 1)], ({ service }) =>
      service(TraceService, { getTrace: () => ({ traceId: "t", link: "javascript:alert(1)" }) }),
    );
    await renderPage(<RequestView id="req_x" />, { transport });
    await screen.findByText(/kept in memory by “claviger dev” only/);
    expect(screen.queryByRole("link", { name: "Open in the trace viewer" })).toBeNull();
  });

  test("that is not known says how long that can take, and looks again", async () => {
    let counted = false;
    const transport = createRouterTransport(({ service }) =>
      service(UsageService, {
        getRequest: ({ requestId }) => {
          if (!counted) throw new ConnectError("request not found", Code.NotFound);
          return { requestId, attempts: [attempt("x", 1)], costKnown: true };
        },
      }),
    );
    await renderPage(<RequestView id="req_x" />, { transport });
    await screen.findByText("This request is not known");
    counted = true;
    await userEvent.click(screen.getByRole("button", { name: "Look again" }));
    await screen.findByText("Attempts");
  });
});
