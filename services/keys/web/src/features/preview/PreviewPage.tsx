import "@/strings/late/preview";
import { useQuery } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { RouteService } from "@/gen/claviger/keys/v1/route_pb";
import { useSession } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { Page, Panel } from "@/shared/Page";
import { Empty, Loading } from "@/shared/states";
import { useObjectNames } from "@/shared/useObjectNames";
import { Answer } from "./Answer";
import { PreviewForm } from "./PreviewForm";
import { type PreviewSearch, tagOf } from "./search";

const route = getRouteApi("/o/$org/preview");

/** PreviewPage tells what would serve a request, without making one. */
export function PreviewPage() {
  const search = route.useSearch();
  const { org } = useSession();
  const navigate = useNavigate();
  return (
    <Preview
      search={search}
      onSearch={(next) => void navigate({ to: "/o/$org/preview", params: { org }, search: next })}
    />
  );
}

/** PreviewProps are what is asked about, and who is told of another question. */
export type PreviewProps = { search: PreviewSearch; onSearch: (next: PreviewSearch) => void };

/** Preview is the page for what an address asks. */
export function Preview({ search, onSearch }: PreviewProps) {
  const { t } = useTranslation();
  const { org } = useSession();
  const { apiKeys, moreApiKeys, apiKeysKnown } = useObjectNames();
  const query = useQuery(RouteService.method.previewRoute, requestOf(search), {
    enabled: search.key !== undefined,
    // An answer is of its moment: it is asked for by people, not by what they do with their windows.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    refetchOnWindowFocus: false,
    retry: false,
  });
  const without = apiKeysKnown && apiKeys.length === 0 && !search.key;
  return (
    <Page title={t("preview.title")} description={t("preview.description")}>
      {without ? (
        <Panel>
          <Empty
            icon={IconKey}
            title={t("preview.none.title")}
            action={
              <Button
                renderRoot={(props) => <Link to="/o/$org/api-keys" params={{ org }} search={{}} {...props} />}
              >
                {t("preview.none.action")}
              </Button>
            }
          >
            {t("preview.none.body")}
          </Empty>
        </Panel>
      ) : (
        <PreviewForm
          // Another address is another request: its fields begin as it says.
          key={JSON.stringify(search)}
          search={search}
          apiKeys={apiKeys}
          moreApiKeys={moreApiKeys}
          busy={query.isFetching}
          onAsk={(next) => {
            if (JSON.stringify(next) === JSON.stringify(search)) void query.refetch();
            else onSearch(next);
          }}
        />
      )}
      {search.key !== undefined && (
        <div aria-live="polite" aria-busy={query.isFetching}>
          {query.error && !query.isFetching ? (
            <ProblemPanel
              title={t("preview.failed")}
              error={query.error}
              onRetry={() => void query.refetch()}
              retrying={query.isFetching}
            />
          ) : query.data && !query.isFetching ? (
            <Answer answer={query.data} sized={search.input !== undefined || search.output !== undefined} />
          ) : (
            <Panel>
              <Loading />
            </Panel>
          )}
        </div>
      )}
    </Page>
  );
}

function requestOf({ key, model, operation, input, output, tags, session }: PreviewSearch) {
  return {
    apiKeyId: key ?? "",
    request: {
      model: model ?? "",
      operation: operation ?? "",
      inputTokens: BigInt(input ?? 0),
      maxOutputTokens: BigInt(output ?? 0),
      tags: Object.fromEntries((tags ?? []).map(tagOf).map((tag) => [tag.key, tag.value])),
      session: session ?? "",
    },
  };
}
