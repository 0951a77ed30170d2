import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import {
  Dimension,
  type QueryUsageRequest,
  QueryUsageResponseSchema,
  TimeBucket,
  UsageService,
  type UsageTotalsSchema,
} from "@/gen/claviger/metering/v1/usage_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { renderPage } from "@/test/render";
import * as csv from "./csv";
import type { UsageSearch } from "./search";
import { UsageView } from "./UsagePage";

const huge = 9_007_199_254_740_993n; // no float holds it

type Totals = Omit<MessageInitShape<typeof UsageTotalsSchema>, "$typeName">;

function totals(requests: bigint, more: Totals = {}) {
  return {
    requests,
    attempts: requests * 2n,
    errors: 1n,
    tokens: { inputTotal: 100n, outputTotal: 50n, cacheRead: 30n },
    ...more,
  };
}

function server({ empty = false, silent = [] as string[] } = {}) {
  const asked: QueryUsageRequest[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(UsageService, {
      queryUsage(request) {
        asked.push(request);
        const through = {
          completeThrough: timestampFromMs(new Date(2026, 10, 22, 14, 3, 12).getTime()),
          silentRouters: silent,
        };
        if (empty) return through;
        if (request.bucket !== TimeBucket.UNSPECIFIED) {
          const at = (request.startTime && timestampMs(request.startTime)) ?? 0;
          const hour = timestampFromMs(Math.floor(at / 3_600_000) * 3_600_000 + 3_600_000);
          return create(QueryUsageResponseSchema, {
            ...through,
            rows: [
              {
                bucketTime: hour,
                group: ["own"],
                totals: totals(3n, { costNanoUsd: huge, estimatedAttempts: 2n }),
              },
              {
                bucketTime: hour,
                group: ["platform"],
                totals: totals(1n, { costNanoUsd: 5_000_000_000n, unknownCostAttempts: 1n }),
              },
            ],
          });
        }
        if (request.groupBy.length === 1 && request.groupBy[0] === Dimension.MODEL) {
          return {
            rows: [
              { group: ["openai/a"], totals: totals(3n) },
              { group: ["openai/unpriced"], totals: totals(1n, { unknownCostAttempts: 1n }) },
            ],
          };
        }
        if (request.pageToken === "2") {
          return {
            rows: [{ group: ["openai/a", "platform"], totals: totals(1n, { costNanoUsd: 5_000_000_000n }) }],
          };
        }
        return {
          rows: [
            { group: ["openai/a", "own"], totals: totals(3n, { costNanoUsd: huge }) },
            { group: ["=cmd|'/c calc'!A1", "own"], totals: totals(1n, { unknownCostAttempts: 2n }) },
          ],
          nextPageToken: "2",
        };
      },
    });
    service(ApiKeyService, { listApiKeys: () => ({ apiKeys: [{ id: "key_1", name: "shop" }] }) });
  });
  return { transport, asked };
}

const searches: UsageSearch[] = [];

function Harness({ first = {} }: { first?: UsageSearch }) {
  const [search, setSearch] = useState<UsageSearch>(first);
  searches.push(search);
  return <UsageView search={search} onSearch={(part) => setSearch((before) => ({ ...before, ...part }))} />;
}

beforeEach(() => {
  searches.length = 0;
});

const fact = (name: string) => screen.getByText(name, { selector: "dt" }).closest("div") as HTMLElement;

describe("the usage page", () => {
  test("says what was used and what it cost, own and platform apart, with what is not known", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    await screen.findByText("Own cost");
    expect(within(fact("Requests")).getByText("4")).toBeDefined();
    expect(within(fact("Requests")).getByText("8 attempts")).toBeDefined();
    expect(within(fact("Own cost")).getByText("$9,007,199.25")).toBeDefined();
    expect(fact("Platform cost").textContent).toContain("≥ $5.00");
    expect(within(fact("Estimated")).getByText("25%")).toBeDefined();
    await screen.findByText(/The cost of 1 attempt is not known/);
    await screen.findByText(/Models: openai\/unpriced\./);
  });

  test("says what was counted besides tokens and what providers say, where there is any", async () => {
    const films = totals(2n, {
      costNanoUsd: 5_000_000_000n,
      providerCostNanoUsd: 3_000_000_000n,
      reportedCostNanoUsd: 3_250_000_000n,
      units: [
        { name: "credit", milli: 60_000n },
        { name: "second", milli: 13_500n },
      ],
    });
    const transport = createRouterTransport(({ service }) => {
      service(UsageService, {
        queryUsage: ({ bucket }) => ({
          rows: [
            { group: bucket ? ["own"] : ["pollo/kling", "own"], totals: films },
            {
              group: bucket ? ["platform"] : ["openai/a", "own"],
              totals: totals(1n, bucket ? { units: [{ name: "second", milli: 500n }] } : {}),
            },
          ],
        }),
      });
    });
    await renderPage(<Harness />, { transport });
    await screen.findByText("Besides tokens: 14 seconds, 60 credits");
    expect(screen.getByText("$3.00 of the cost is what providers say themselves")).toBeDefined();
    expect(screen.getByText("where the price book decides, providers say $0.25")).toBeDefined();
    const table = await screen.findByRole("table", { name: "By model" });
    const row = within(table).getByRole("button", { name: "pollo/kling" }).closest("tr") as HTMLElement;
    expect(within(row).getByText("13.5 seconds, 60 credits")).toBeDefined();
  });

  test("has no word for units where nothing but tokens was counted", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    await screen.findByRole("table", { name: "By model" });
    expect(screen.queryByText(/Besides tokens|providers say|\d (seconds|credits)/)).toBeNull();
  });

  test("says how far it is complete, and who holds that back", async () => {
    const { transport } = server({ silent: ["router-2"] });
    await renderPage(<Harness />, { transport });
    const line = await screen.findByText(/Complete through .*14:03:12/);
    expect(line.parentElement?.textContent).toMatch(/router router-2 silent since .*14:03:12/);
  });

  test("has the chart's numbers as a table, exact", async () => {
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    const numbers = await screen.findByRole(
      "table",
      { name: "Cost over time", hidden: true },
      { timeout: 20_000 },
    );
    const [, row] = within(numbers).getAllByRole("row", { hidden: true });
    expect(within(row as HTMLElement).getByText("$9,007,199.25")).toBeDefined();
    expect(within(row as HTMLElement).getByText("$9,007,204.25")).toBeDefined();
  });

  test("narrows everything down to the row that was clicked, and looks at what it is made of", async () => {
    const { transport, asked } = server();
    await renderPage(<Harness />, { transport });
    await userEvent.click(await screen.findByRole("button", { name: "openai/a" }));
    expect(searches.at(-1)).toMatchObject({ model: "openai/a", by: "key" });
    await waitFor(() => expect(asked.at(-1)?.filters[0]?.values).toEqual(["openai/a"]));
    await userEvent.click(await screen.findByRole("button", { name: "Remove the filter Model" }));
    expect(searches.at(-1)?.model).toBeUndefined();
  });

  test("says names where it may, and ids where it may not", async () => {
    const transport = createRouterTransport(({ service }) => {
      service(UsageService, {
        queryUsage: (request) => ({
          rows: [
            { group: request.bucket ? ["own"] : ["key_1", "own"], totals: totals(1n) },
            { group: request.bucket ? ["own"] : ["key_of_another", "own"], totals: totals(1n) },
          ],
        }),
      });
      service(ApiKeyService, { listApiKeys: () => ({ apiKeys: [{ id: "key_1", name: "shop" }] }) });
    });
    await renderPage(<Harness first={{ by: "key" }} />, { transport, role: Role.MEMBER });
    await screen.findByRole("button", { name: "shop" });
    expect(screen.getByRole("button", { name: "key_of_another" })).toBeDefined();
    expect(screen.getByText(/What your API keys used/)).toBeDefined();
    const options = within(screen.getByRole("combobox", { name: "Group by" })).getAllByRole("option");
    expect(options.map(({ textContent }) => textContent)).not.toContain("Credential");
  });

  test("loads more, sorts, and writes what it shows to a file that runs nothing", async () => {
    const save = vi.spyOn(csv, "save").mockImplementation(() => undefined);
    const { transport } = server();
    await renderPage(<Harness />, { transport });
    const table = await screen.findByRole("table", { name: "By model" });
    const first = () => within(table).getAllByRole("rowheader")[0]?.textContent;
    expect(first()).toContain("openai/a");
    expect(within(table).getAllByText("Unknown")).not.toHaveLength(0);
    await userEvent.click(screen.getByRole("button", { name: "Load more" }));
    await within(table).findByText("$5.00");
    await userEvent.click(within(table).getByRole("button", { name: "Cost" }));
    expect(first()).toContain("=cmd");
    expect(searches.at(-1)).toMatchObject({ order: "asc" });

    await userEvent.click(screen.getByRole("button", { name: "Download CSV" }));
    const [name, text] = save.mock.calls[0] ?? [];
    expect(name).toMatch(/^usage-acme-model-.*\.csv$/);
    const lines = text?.split("\r\n");
    expect(lines?.[1]).toMatch(/^"'=cmd\|'\/c calc'!A1"/);
    expect(lines?.[2]).toContain("9007199.254740993,5,9007204.254740993");
  });

  test("with nothing to show leads to the first key, and with filters to none of it", async () => {
    const { transport } = server({ empty: true });
    const { unmount } = await renderPage(<Harness />, { transport });
    expect(await screen.findByRole("link", { name: "Bring your first key" })).toBeDefined();
    unmount();
    await renderPage(<Harness first={{ model: "none" }} />, { transport });
    await screen.findByText("Nothing matches these filters in this time.");
    expect(screen.queryByRole("link", { name: "Bring your first key" })).toBeNull();
  });

  test("says that metering is away, and asks again on demand", async () => {
    const transport = createRouterTransport(({ service }) => {
      service(UsageService, {
        queryUsage: () => {
          throw new ConnectError("metering is away", Code.Unavailable);
        },
      });
    });
    await renderPage(<Harness />, { transport });
    await screen.findByText("The usage could not be loaded");
    expect(screen.getByRole("button", { name: "Try again" })).toBeDefined();
  });
});
