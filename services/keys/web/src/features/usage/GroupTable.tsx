import "@/strings/late/usage";
import { Button, TextInput, UnstyledButton } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import type { TFunction } from "i18next";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { useSession } from "@/session/context";
import { SumOfCosts } from "@/shared/Cost";
import { type Column, DataTable } from "@/shared/DataTable";
import type { FilterName } from "@/shared/filters";
import { InlineSelect } from "@/shared/InlineSelect";
import { share } from "@/shared/money";
import { Panel, Section } from "@/shared/Page";
import { Loaded, LoadMore } from "@/shared/states";
import { useUnitWords } from "./Besides";
import { colors } from "./colors";
import { save, usageCsv } from "./csv";
import type { Range } from "./range";
import { type Grouping, groupings, type Sort, sorts } from "./search";
import { type Group, type Split, type Sums, sorted } from "./sums";
import { Count } from "./Totals";
import type { SearchProps } from "./UsagePage";
import classes from "./UsagePage.module.css";
import { useDimensionNames } from "./useDimensionNames";
import type { useGroups } from "./useUsage";

type Props = SearchProps & { range: Range; table: ReturnType<typeof useGroups>; split: Split };

// Who has chosen one value looks next at what it is made of.
const next: Record<Grouping, Grouping> = {
  provider: "model",
  model: "key",
  class: "provider",
  key: "model",
  credential: "model",
  member: "key",
  policy: "model",
  tag: "model",
};

/** GroupTable is the usage by group, sorted, with a click on a row narrowing everything down to it. */
export function GroupTable({ search, onSearch, range, table, split }: Props) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const nameOf = useDimensionNames();
  const unitsOf = useUnitWords();
  const by = search.by ?? "model";
  const sort = search.sort ?? "cost";
  const order = search.order ?? (sort === "name" ? "asc" : "desc");
  const rows = useMemo(
    () => sorted(table.groups ?? [], sort, order, (id) => nameOf(by, id)),
    [table.groups, sort, order, nameOf, by],
  );
  const onSort = (column: string) => {
    const chosen = sorts.find((each) => each === column) ?? "cost";
    const natural = chosen === "name" ? "asc" : "desc";
    const turned = chosen === sort && order === natural ? (natural === "asc" ? "desc" : "asc") : undefined;
    onSearch({ sort: chosen === "cost" ? undefined : chosen, order: turned });
  };
  const narrow = (id: string) => {
    const filter: FilterName = by === "tag" ? "tagged" : by;
    const value = by === "tag" ? `${search.tag}=${id}` : id;
    onSearch({ [filter]: value, by: next[by] === "model" ? undefined : next[by], tag: undefined });
  };
  const allowed = groupings.filter(
    (each) => (each !== "credential" || may.seeCredentials) && (each !== "member" || may.seeMembers),
  );
  const title = by === "tag" ? t("usage.by.tagTitle", { tag: search.tag ?? "" }) : t(`usage.by.titles.${by}`);
  const download = () => {
    const span = [range.start, range.end].map((at) =>
      new Date(at).toISOString().slice(0, 16).replace(":", ""),
    );
    save(
      `usage-${org}-${by}-${span.join("Z-")}Z.csv`,
      usageCsv(by === "tag" ? `tag ${search.tag}` : by, rows, (id) => nameOf(by, id)),
    );
  };
  return (
    <Section
      title={title}
      actions={
        <div className={classes.controls}>
          <InlineSelect
            className={classes.narrow}
            label={t("usage.sort")}
            value={sort}
            onChange={onSort}
            options={sorts.map((value) => ({
              value,
              label: value === "name" ? t(`usage.by.${by}`) : t(`usage.columns.${value}`),
            }))}
          />
          <GroupBy search={search} onSearch={onSearch} allowed={allowed} />
          <Button
            size="xs"
            variant="default"
            leftSection={<IconDownload size={14} />}
            onClick={download}
            disabled={rows.length === 0}
          >
            {t("usage.download")}
          </Button>
        </div>
      }
    >
      <Panel flush>
        <Loaded query={table.query} errorTitle={t("usage.failed")}>
          {() => (
            <>
              <DataTable
                caption={title}
                columns={columnsOf({ t, by, split, nameOf, narrow, unitsOf })}
                rows={rows}
                rowKey={(row) => row.id}
                compact
                sort={{ by: sort, order, onSort }}
              />
              <div className={classes.foot}>
                <span>
                  {t("usage.rows", { count: rows.length })}
                  {table.query.hasNextPage && `. ${t("usage.partly")}`}
                </span>
              </div>
              <LoadMore query={table.query} />
            </>
          )}
        </Loaded>
      </Panel>
    </Section>
  );
}

function columnsOf({
  t,
  by,
  split,
  nameOf,
  narrow,
  unitsOf,
}: {
  t: TFunction;
  by: Grouping;
  split: Split;
  nameOf: ReturnType<typeof useDimensionNames>;
  narrow: (id: string) => void;
  unitsOf: (sums: Sums) => string[];
}): Column<Group>[] {
  const count = (id: Exclude<Sort, "name" | "own" | "platform" | "cost">, wide?: boolean): Column<Group> => ({
    id,
    header: t(`usage.columns.${id}`),
    align: "end",
    sortable: true,
    wide,
    cell: (row) => <Count of={row.all[id]} />,
  });
  return [
    {
      id: "name",
      header: t(`usage.by.${by}`),
      main: true,
      sortable: true,
      cell: (row) => {
        const name = nameOf(by, row.id);
        return (
          <>
            <UnstyledButton
              className={classes.link}
              onClick={() => narrow(row.id)}
              title={t("usage.narrow", { name })}
            >
              {name}
            </UnstyledButton>
            {row.all.units.size > 0 && <span className={classes.id}>{unitsOf(row.all).join(", ")}</span>}
            {row.all.unknownCost > 0n && (
              <span className={classes.id}>
                {t("usage.unknownIn", { count: Number(row.all.unknownCost) })}
              </span>
            )}
          </>
        );
      },
    },
    count("requests"),
    count("errors"),
    count("input"),
    count("output"),
    count("cached", true),
    {
      id: "own",
      header: t("usage.columns.own"),
      align: "end",
      sortable: true,
      cell: (row) => <SumOfCosts of={row.own} />,
    },
    {
      id: "platform",
      header: t("usage.columns.platform"),
      align: "end",
      sortable: true,
      cell: (row) => <SumOfCosts of={row.platform} />,
    },
    {
      id: "cost",
      header: t("usage.columns.cost"),
      align: "end",
      sortable: true,
      cell: (row) => <SumOfCosts of={row.all} />,
    },
    {
      id: "share",
      header: t("usage.columns.share"),
      align: "end",
      wide: true,
      cell: (row) => (
        <span className={classes.share}>
          <span className={classes.bar} aria-hidden>
            <span style={{ width: width(row.own.cost, split.all.cost), background: colors.own }} />
            <span style={{ width: width(row.platform.cost, split.all.cost), background: colors.platform }} />
          </span>
          <span className={classes.percent}>{share(row.all.cost, split.all.cost)}</span>
        </span>
      ),
    },
  ];
}

function width(part: bigint, whole: bigint): string {
  return whole > 0n ? `${Number((part * 1000n) / whole) / 10}%` : "0";
}

// The key of a tag is typed, because nobody but the callers knows which there are.
function GroupBy({ search, onSearch, allowed }: SearchProps & { allowed: Grouping[] }) {
  const { t } = useTranslation();
  const [asking, setAsking] = useState(false);
  const [tag, setTag] = useState(search.tag ?? "");
  const by = asking ? "tag" : (search.by ?? "model");
  return (
    <>
      <InlineSelect
        label={t("usage.by.label")}
        value={by}
        onChange={(chosen) => {
          setAsking(chosen === "tag");
          if (chosen !== "tag") onSearch({ by: chosen === "model" ? undefined : chosen, tag: undefined });
        }}
        options={allowed.map((value) => ({ value, label: t(`usage.by.${value}`) }))}
      />
      {by === "tag" && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (!tag.trim()) return;
            setAsking(false);
            onSearch({ by: "tag", tag: tag.trim() });
          }}
        >
          <TextInput
            size="xs"
            w="9rem"
            aria-label={t("usage.by.tagKey")}
            placeholder={t("usage.by.tagKeyHint")}
            value={tag}
            maxLength={64}
            onChange={(event) => setTag(event.currentTarget.value)}
            autoComplete="off"
            autoFocus={asking}
          />
        </form>
      )}
    </>
  );
}
