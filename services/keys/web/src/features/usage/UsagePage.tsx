import "@/strings/late/usage";
import { Button, Skeleton } from "@mantine/core";
import { IconAlertTriangle, IconChartBar } from "@tabler/icons-react";
import { getRouteApi, Link } from "@tanstack/react-router";
import { lazy, Suspense, useMemo } from "react";
import { useTranslation } from "react-i18next";
import { useSession } from "@/session/context";
import { FilterChips } from "@/shared/FilterChips";
import { filtersOf } from "@/shared/filters";
import { Page, Panel, Section } from "@/shared/Page";
import { Empty, Loaded } from "@/shared/states";
import { Besides } from "./Besides";
import { Complete } from "./Complete";
import { GroupTable } from "./GroupTable";
import { RangePicker } from "./RangePicker";
import type { Range } from "./range";
import type { UsageSearch } from "./search";
import { largest, type Split } from "./sums";
import { Totals } from "./Totals";
import classes from "./UsagePage.module.css";
import { useDimensionNames } from "./useDimensionNames";
import { useGroups, usePeriod, useTotals, useUnpriced } from "./useUsage";

const route = getRouteApi("/o/$org/usage");

// More colors than this nobody tells apart; the others are one bar.
const mostSeries = 6;

const Chart = lazy(() => import("./Chart"));

/** UsagePage shows usage over time. */
export function UsagePage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <UsageView
      search={search}
      onSearch={(part) => void navigate({ search: (before) => ({ ...before, ...part }), resetScroll: false })}
    />
  );
}

/** SearchProps are what the address says, and how to change it. */
export type SearchProps = { search: UsageSearch; onSearch: (part: Partial<UsageSearch>) => void };

/** UsageView is the page, with what its address says. */
export function UsageView({ search, onSearch }: SearchProps) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const range = usePeriod(search);
  const filters = filtersOf(search);
  const filtered = Object.keys(filters).length > 0;
  const { query, split } = useTotals(search, range);
  const nameOf = useDimensionNames();
  return (
    <Page
      title={t("usage.title")}
      description={t(may.seeMembers ? "usage.description" : "usage.descriptionOwn")}
      actions={<RangePicker search={search} onSearch={onSearch} />}
    >
      {filtered && (
        <FilterChips
          filters={filters}
          nameOf={nameOf}
          onRemove={(name) => onSearch({ [name]: undefined })}
          onClear={() => onSearch(Object.fromEntries(Object.keys(filters).map((name) => [name, undefined])))}
        >
          <Button
            component={Link}
            to="/o/$org/requests"
            params={{ org } as never}
            search={filters as never}
            variant="subtle"
            size="compact-xs"
          >
            {t("usage.filters.requests")}
          </Button>
        </FilterChips>
      )}
      <Loaded query={query} errorTitle={t("usage.failed")} rows={8}>
        {(answer) => {
          if (!split || split.all.attempts === 0n) return <Nothing filtered={filtered} />;
          return (
            <div className={classes.body} data-old={query.isPlaceholderData || undefined}>
              <div className={classes.top}>
                <Totals split={split} />
                <Besides sums={split.all} />
                <Complete answer={answer} live={range.live} />
                <Unknown search={search} range={range} split={split} />
              </div>
              <Numbers search={search} onSearch={onSearch} range={range} rows={answer.rows} split={split} />
            </div>
          );
        }}
      </Loaded>
    </Page>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  let action: React.ReactNode;
  if (!filtered && may.manageCredentials) {
    action = (
      <Button component={Link} to="/o/$org/bring-a-key" params={{ org } as never}>
        {t("usage.empty.firstAction")}
      </Button>
    );
  } else if (!filtered && may.createApiKeys) {
    action = (
      <Button component={Link} to="/o/$org/api-keys" params={{ org } as never}>
        {t("usage.empty.keyAction")}
      </Button>
    );
  }
  return (
    <Panel flush>
      <Empty icon={IconChartBar} title={t("usage.empty.title")} action={action}>
        {t(filtered ? "usage.empty.filtered" : "usage.empty.first")}
      </Empty>
    </Panel>
  );
}

// Attempts without a known cost are in no sum: whoever reads one has to know.
function Unknown({ search, range, split }: { search: UsageSearch; range: Range; split: Split }) {
  const { t } = useTranslation();
  const count = split.all.unknownCost;
  const models = useUnpriced(search, range, count > 0n);
  if (count === 0n) return null;
  return (
    <p className={classes.unknown}>
      <IconAlertTriangle size={16} aria-hidden />
      <span>
        {t("usage.unknown.title", { count: Number(count) })}{" "}
        {models.length > 0 && t("usage.unknown.models", { models: models.slice(0, 8).join(", ") })}{" "}
        {t("usage.unknown.next")}
      </span>
    </p>
  );
}

function Numbers({
  search,
  onSearch,
  range,
  rows,
  split,
}: SearchProps & {
  range: Range;
  rows: NonNullable<ReturnType<typeof useTotals>["query"]["data"]>["rows"];
  split: Split;
}) {
  const { t } = useTranslation();
  const groups = useGroups(search, range);
  const measure = search.show ?? "cost";
  const top = useMemo(
    () => (search.stack === "group" ? largest(groups.groups ?? [], measure, mostSeries) : []),
    [groups.groups, search.stack, measure],
  );
  return (
    <>
      <Suspense
        fallback={
          <Section title={t("usage.chart.title")}>
            <Panel>
              <Skeleton height={264} aria-label={t("usage.chart.loading")} role="status" />
            </Panel>
          </Section>
        }
      >
        <Chart search={search} onSearch={onSearch} range={range} rows={rows} top={top} />
      </Suspense>
      <GroupTable search={search} onSearch={onSearch} range={range} table={groups} split={split} />
    </>
  );
}
