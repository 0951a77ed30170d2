import { Button, Skeleton, Text, Title } from "@mantine/core";
import type { Icon } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { ProblemPanel } from "./errors/ProblemPanel";
import classes from "./states.module.css";

/** Empty says that there is nothing yet, why that is, and what to do first. */
export function Empty({
  icon: Glyph,
  title,
  children,
  action,
}: {
  icon: Icon;
  title: string;
  children?: React.ReactNode;
  action?: React.ReactNode;
}) {
  return (
    <div className={classes.empty}>
      <span className={classes.emptyIcon}>
        <Glyph size={22} stroke={1.6} aria-hidden />
      </span>
      <Title order={2} size="h3">
        {title}
      </Title>
      {children && (
        <Text c="dimmed" size="sm" maw="30rem">
          {children}
        </Text>
      )}
      {action}
    </div>
  );
}

/** Loading stands where rows will be. It keeps their height, so that nothing jumps. */
export function Loading({ rows = 4, height = 20 }: { rows?: number; height?: number }) {
  const { t } = useTranslation();
  return (
    <div className={classes.loading} role="status" aria-label={t("common.loading")}>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: all are the same
        <Skeleton key={row} height={height} width={row % 3 === 2 ? "70%" : "100%"} />
      ))}
    </div>
  );
}

type QueryLike<T> = {
  data: T | undefined;
  error: unknown;
  isPending: boolean;
  isFetching: boolean;
  refetch: () => unknown;
};

/**
 * Loaded draws what a query has, or that it is loading, or why it failed. With old data and a failed
 * renewal it shows both.
 */
export function Loaded<T>({
  query,
  errorTitle,
  rows,
  children,
}: {
  query: QueryLike<T>;
  errorTitle: string;
  rows?: number;
  children: (data: T) => React.ReactNode;
}) {
  const problem = query.error ? (
    <ProblemPanel
      title={errorTitle}
      error={query.error}
      onRetry={() => void query.refetch()}
      retrying={query.isFetching}
    />
  ) : null;
  if (query.data === undefined) return problem ?? <Loading rows={rows} />;
  return (
    <>
      {problem}
      {children(query.data)}
    </>
  );
}

type PagesLike = {
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => unknown;
};

/** LoadMore fetches the next page of a long list. */
export function LoadMore({ query }: { query: PagesLike }) {
  const { t } = useTranslation();
  if (!query.hasNextPage) return null;
  return (
    <div className={classes.more}>
      <Button variant="default" onClick={() => void query.fetchNextPage()} loading={query.isFetchingNextPage}>
        {t("common.loadMore")}
      </Button>
    </div>
  );
}
