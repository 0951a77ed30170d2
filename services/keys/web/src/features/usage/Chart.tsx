import "@/strings/late/usage";
import "@mantine/charts/styles.layer.css";
import { BarChart } from "@mantine/charts";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { UsageRow } from "@/gen/claviger/metering/v1/usage_pb";
import { Cost } from "@/shared/Cost";
import { type Column, DataTable } from "@/shared/DataTable";
import { compactCount, formatCost, formatCount } from "@/shared/format";
import { InlineSelect } from "@/shared/InlineSelect";
import { Panel, Section } from "@/shared/Page";
import { type Bar, barsOf, type Series } from "./bars";
import classes from "./Chart.module.css";
import { colors } from "./colors";
import { bucketName, type Range, tickName, tickStarts } from "./range";
import { type Measure, measures } from "./search";
import { byBucket } from "./sums";
import type { SearchProps } from "./UsagePage";
import { useDimensionNames } from "./useDimensionNames";
import { useSeries } from "./useUsage";

type Props = SearchProps & {
  range: Range;
  /** The sums by bucket and class. */
  rows: readonly UsageRow[];
  /** The groups to show, if the bars are made of groups. */
  top: readonly string[];
};

/** Chart draws the range as stacked bars, with the same numbers as a table under them. */
export default function Chart({ search, onSearch, range, rows, top }: Props) {
  const { t } = useTranslation();
  const measure = search.show ?? "cost";
  const by = search.by ?? "model";
  const grouped = search.stack === "group" && by !== "class";
  const { series, bars } = useBars({ search, range, rows, top, grouped });
  const title = t("usage.chart.caption", { measure: t(`usage.chart.measures.${measure}`) });

  return (
    <Section
      title={t("usage.chart.title")}
      actions={
        <div className={classes.controls}>
          <InlineSelect
            label={t("usage.chart.show")}
            value={measure}
            onChange={(show) => onSearch({ show: show === "cost" ? undefined : show })}
            options={measures.map((value) => ({ value, label: t(`usage.chart.measures.${value}`) }))}
          />
          {by !== "class" && (
            <InlineSelect
              label={t("usage.chart.stack")}
              value={grouped ? "group" : "class"}
              onChange={(stack) => onSearch({ stack: stack === "group" ? "group" : undefined })}
              options={[
                { value: "class", label: t("usage.chart.stackClass") },
                { value: "group", label: t(`usage.by.titles.${by}`) },
              ]}
            />
          )}
        </div>
      }
    >
      <Panel>
        <figure className={classes.figure}>
          <figcaption className="visually-hidden">{title}</figcaption>
          <ul className={classes.legend}>
            {series.map(({ key, label, color }) => (
              <li key={key}>
                <span className={classes.swatch} style={{ background: color }} aria-hidden />
                {label}
              </li>
            ))}
          </ul>
          {/* What is drawn is said by the table below it. */}
          <div aria-hidden>
            <BarChart
              h={232}
              data={bars.map(({ at, heights }) => ({ at, ...heights }))}
              dataKey="at"
              type="stacked"
              series={series.map(({ key, color }) => ({ name: key, color }))}
              accessibilityLayer={false}
              gridAxis="x"
              tickLine="none"
              strokeDasharray="0"
              maxBarWidth={36}
              className={classes.chart}
              barChartProps={{ barCategoryGap: bars.length > 60 ? 1 : "18%" }}
              xAxisProps={{
                ticks: tickStarts(range),
                tickFormatter: (at: number) => tickName(at, range),
                minTickGap: 36,
              }}
              yAxisProps={{
                tickFormatter: (value: number) => tick(value, measure),
                width: 72,
                allowDecimals: measure === "cost",
              }}
              tooltipProps={{
                content: ({ active, label }) => {
                  const bar = active ? bars.find(({ at }) => at === label) : undefined;
                  return bar ? <Hover bar={bar} series={series} range={range} measure={measure} /> : null;
                },
              }}
            />
          </div>
        </figure>
        <details className={classes.numbers}>
          <summary>{t("usage.chart.numbers")}</summary>
          <Numbers title={title} bars={bars} series={series} range={range} measure={measure} />
        </details>
      </Panel>
    </Section>
  );
}

function useBars({
  search,
  range,
  rows,
  top,
  grouped,
}: Pick<Props, "search" | "range" | "rows" | "top"> & { grouped: boolean }): {
  series: Series[];
  bars: Bar[];
} {
  const { t } = useTranslation();
  const nameOf = useDimensionNames();
  const measure = search.show ?? "cost";
  const by = search.by ?? "model";
  const detail = useSeries(search, range, grouped ? top : []);
  return useMemo(() => {
    const whole = byBucket(rows);
    if (grouped && detail.data) {
      const series: Series[] = top.map((id, index) => ({
        key: `g${index}`,
        id,
        label: nameOf(by, id),
        color: colors.groups[index % colors.groups.length] ?? colors.other,
      }));
      const other: Series = { key: "other", label: t("usage.chart.other"), color: colors.other };
      return barsOf({ range, measure, whole, parts: byBucket(detail.data.rows), series, other });
    }
    const series: Series[] = [
      { key: "own", id: "own", label: t("common.own"), color: colors.own },
      { key: "platform", id: "platform", label: t("common.platform"), color: colors.platform },
    ];
    const other: Series = { key: "other", label: t("usage.by.none.class"), color: colors.other };
    return barsOf({ range, measure, whole, parts: whole, series, other });
  }, [rows, detail.data, grouped, top, range, measure, by, nameOf, t]);
}

// The axis is for the eye; exact numbers are in the table and on hover.
function tick(value: number, measure: Measure): string {
  return measure === "cost" ? formatCost(BigInt(Math.round(value))) : compactCount(value);
}

function Value({ of, measure }: { of: bigint; measure: Measure }) {
  return measure === "cost" ? <Cost nano={of} /> : <span className="num">{formatCount(of)}</span>;
}

function Hover({
  bar,
  series,
  range,
  measure,
}: {
  bar: Bar;
  series: Series[];
  range: Range;
  measure: Measure;
}) {
  const { t } = useTranslation();
  return (
    <div className={classes.hover}>
      <div className={classes.hoverTitle}>{bucketName(bar.at, range.width)}</div>
      {series
        .filter(({ key }) => (bar.exact[key] ?? 0n) > 0n)
        .map(({ key, label, color }) => (
          <div key={key} className={classes.hoverRow}>
            <span className={classes.swatch} style={{ background: color }} />
            <span>{label}</span>
            <Value of={bar.exact[key] ?? 0n} measure={measure} />
          </div>
        ))}
      <div className={classes.hoverRow} data-total>
        <span />
        <span>{t("usage.chart.total")}</span>
        <Value of={bar.total} measure={measure} />
      </div>
    </div>
  );
}

function Numbers(props: { title: string; bars: Bar[]; series: Series[]; range: Range; measure: Measure }) {
  const { t } = useTranslation();
  const { title, bars, series, range, measure } = props;
  // Empty buckets are left out: they say nothing that a missing row does not.
  const rows = bars.filter(({ total }) => total > 0n).reverse();
  const columns: Column<Bar>[] = [
    {
      id: "at",
      header: t("usage.chart.time"),
      main: true,
      cell: (row) => <time dateTime={new Date(row.at).toISOString()}>{bucketName(row.at, range.width)}</time>,
    },
    ...series.map(
      ({ key, label }): Column<Bar> => ({
        id: key,
        header: label,
        align: "end",
        cell: (row) => <Value of={row.exact[key] ?? 0n} measure={measure} />,
      }),
    ),
    {
      id: "total",
      header: t("usage.chart.total"),
      align: "end",
      cell: (row) => <Value of={row.total} measure={measure} />,
    },
  ];
  return (
    <>
      <DataTable compact caption={title} columns={columns} rows={rows} rowKey={(row) => String(row.at)} />
      {range.width >= 86_400_000 && <p className={classes.utc}>{t("usage.chart.utc")}</p>}
    </>
  );
}
