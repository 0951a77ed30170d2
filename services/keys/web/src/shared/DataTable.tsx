import { UnstyledButton } from "@mantine/core";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import classes from "./DataTable.module.css";

/** Column is a column of a DataTable. */
export type Column<T> = {
  id: string;
  header: string;
  cell: (row: T) => React.ReactNode;
  /** Numbers stand right. */
  align?: "end";
  /** The cell that names the row; exactly one column has it. */
  main?: boolean;
  /** Not shown as a label on narrow screens, such as for a column of buttons. */
  bare?: boolean;
  /** Left out on middle screens, where the table would not fit. */
  wide?: boolean;
  /** In compact tables: alone in its line on narrow screens. */
  full?: boolean;
  /** The rows can be sorted by it; see DataTable's sort. */
  sortable?: boolean;
};

/** Sorting says by which column rows are sorted, and takes another choice. */
export type Sorting = { by: string; order: "asc" | "desc"; onSort: (by: string) => void };

type Props<T> = {
  /** What the table holds, for those who do not see it. */
  caption: string;
  columns: Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
  /** Marks rows that have just arrived. */
  isNew?: (row: T) => boolean;
  /** On narrow screens cells stand side by side: for tables of many short numbers. */
  compact?: boolean;
  /** How the rows are sorted; headers of sortable columns become buttons. */
  sort?: Sorting;
};

/**
 * DataTable is a table that becomes a list of cards on narrow screens. The roles are written out,
 * because browsers forget them when the display of a table changes.
 */
export function DataTable<T>({ caption, columns, rows, rowKey, isNew, compact, sort }: Props<T>) {
  return (
    <table className={classes.table} role="table" data-compact={compact || undefined}>
      <caption className="visually-hidden">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((column) => (
            <th
              key={column.id}
              scope="col"
              role="columnheader"
              data-align={column.align}
              data-wide={column.wide || undefined}
              aria-sort={
                sort?.by === column.id ? (sort.order === "asc" ? "ascending" : "descending") : undefined
              }
            >
              {sort && column.sortable ? (
                <>
                  <span className={classes.unsorted}>{column.header}</span>
                  <UnstyledButton className={classes.sort} onClick={() => sort.onSort(column.id)}>
                    {column.header}
                    <SortMark order={sort.by === column.id ? sort.order : undefined} />
                  </UnstyledButton>
                </>
              ) : (
                <span className={column.bare ? "visually-hidden" : undefined}>{column.header}</span>
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={rowKey(row)} role="row" data-new={isNew?.(row) || undefined}>
            {columns.map((column) => {
              const shared = {
                "data-align": column.align,
                "data-label": column.bare ? undefined : column.header,
                "data-wide": column.wide || undefined,
                "data-full": column.full || undefined,
              };
              return column.main ? (
                <th key={column.id} scope="row" role="rowheader" {...shared} data-main>
                  {column.cell(row)}
                </th>
              ) : (
                <td key={column.id} role="cell" {...shared} data-bare={column.bare || undefined}>
                  {column.cell(row)}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function SortMark({ order }: { order: "asc" | "desc" | undefined }) {
  const Glyph = order === "asc" ? IconArrowUp : IconArrowDown;
  return <Glyph size={12} stroke={2} aria-hidden data-off={order === undefined || undefined} />;
}
