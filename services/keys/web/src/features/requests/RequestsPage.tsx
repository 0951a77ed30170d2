import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconActivity } from "@tabler/icons-react";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { useSession } from "@/session/context";
import { conditions, filtersOf } from "@/shared/filters";
import { Page, Panel } from "@/shared/Page";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { LiveSwitch } from "./LiveSwitch";
import { merge } from "./merge";
import { RequestFilters } from "./RequestFilters";
import { RequestTable } from "./RequestTable";
import type { RequestsSearch } from "./search";
import { type Live, useLive } from "./useLive";

const route = getRouteApi("/o/$org/requests");

/** RequestsPage lists the newest requests. */
export function RequestsPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <RequestsView
      search={search}
      onSearch={(part) => void navigate({ search: (before) => ({ ...before, ...part }), resetScroll: false })}
    />
  );
}

/** SearchProps are what the address says, and how to change it. */
export type SearchProps = { search: RequestsSearch; onSearch: (part: Partial<RequestsSearch>) => void };

// Older ones are found by usage and their ids; a list without an end would search for ever.
const span = 90 * 86_400_000;

/** How often the list is read where the server does not send. */
export const pollEvery = 5_000;

/** RequestsView is the page, with what its address says. */
export function RequestsView({ search, onSearch }: SearchProps) {
  const { t } = useTranslation();
  const { may } = useSession();
  const [start] = useState(() => Date.now() - span);
  const filters = conditions(filtersOf(search));
  const errorsOnly = search.errors ?? false;
  const [polling, setPolling] = useState(false);
  const query = useInfiniteQuery(
    UsageService.method.listRequests,
    { startTime: timestampFromMs(start), pageSize: 50, pageToken: "", filters, errorsOnly },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
      refetchInterval: polling ? pollEvery : false,
      // Live rows keep it fresh; another reading in the background would only reorder what is being read.
      refetchOnWindowFocus: false,
    },
  );
  const live = useLive({ filters, errorsOnly }, () => query.refetch({ cancelRefetch: false }));
  if (polling !== (live.state === "polling")) setPolling(live.state === "polling");

  const requests = useMemo(
    () => merge(query.data?.pages.flatMap((page) => page.attempts) ?? [], live.attempts),
    [query.data, live.attempts],
  );
  const filtered = errorsOnly || filters.length > 0;
  return (
    <Page
      title={t("requests.title")}
      description={t(may.seeMembers ? "requests.description" : "requests.descriptionOwn")}
      actions={<LiveSwitch live={live} />}
    >
      <RequestFilters search={search} onSearch={onSearch} />
      <Panel flush>
        <Loaded query={query} errorTitle={t("requests.failed")} rows={8}>
          {() =>
            requests.length === 0 ? (
              <Nothing filtered={filtered} live={live} />
            ) : (
              <>
                <RequestTable requests={requests} />
                <LoadMore query={query} />
              </>
            )
          }
        </Loaded>
      </Panel>
      <Arrivals count={requests.filter((request) => request.live).length} />
    </Page>
  );
}

function Nothing({ filtered, live }: { filtered: boolean; live: Live }) {
  const { t } = useTranslation();
  const { org } = useSession();
  const waiting = live.state === "live" || live.state === "polling" || live.state === "connecting";
  return (
    <Empty
      icon={IconActivity}
      title={filtered ? t("requests.empty.filtered") : t("requests.empty.title")}
      action={
        !filtered && (
          <Button component={Link} to="/o/$org/api-keys" params={{ org } as never} variant="default">
            {t("requests.empty.use")}
          </Button>
        )
      }
    >
      {!filtered && t(waiting ? "requests.empty.waiting" : "requests.empty.still")}
    </Empty>
  );
}

// Said once things are quiet again, not row by row.
function Arrivals({ count }: { count: number }) {
  const { t } = useTranslation();
  const [settled] = useDebouncedValue(count, 1_500);
  return (
    <div role="status" className="visually-hidden">
      {settled > 0 && t("requests.live.arrived", { count: settled })}
    </div>
  );
}
