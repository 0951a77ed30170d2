import "@/strings/late/usage";
import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { rangeOf } from "./range";
import { longestRange, presets, type UsageSearch } from "./search";
import type { SearchProps } from "./UsagePage";
import classes from "./UsagePage.module.css";

/** RangePicker chooses the time range, which stands in the address. */
export function RangePicker({ search, onSearch }: SearchProps) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(search.range === "custom");
  const value = open || search.range === "custom" ? "custom" : (search.range ?? "24h");
  return (
    <div className={classes.range}>
      <SegmentedControl
        size="xs"
        aria-label={t("usage.range.label")}
        value={value}
        onChange={(next) => {
          setOpen(next === "custom");
          const preset = presets.find((each) => each === next);
          if (preset)
            onSearch({ range: preset === "24h" ? undefined : preset, from: undefined, to: undefined });
        }}
        data={[...presets, "custom" as const].map((each) => ({
          value: each,
          label: t(`usage.range.${each}`),
        }))}
      />
      {value === "custom" && (
        <Custom key={`${search.from} ${search.to}`} search={search} onSearch={onSearch} />
      )}
    </div>
  );
}

function Custom({ search, onSearch }: SearchProps) {
  const { t } = useTranslation();
  const [shown] = useState(() => rangeOf(search, Date.now()));
  const [from, setFrom] = useState(local(shown.start));
  const [to, setTo] = useState(local(shown.end));
  const [bad, setBad] = useState(false);
  return (
    <form
      className={classes.custom}
      onSubmit={(event) => {
        event.preventDefault();
        const custom = customRange(from, to);
        setBad(!custom);
        if (custom) onSearch(custom);
      }}
    >
      <TextInput
        type="datetime-local"
        size="xs"
        label={t("usage.range.from")}
        value={from}
        onChange={(event) => setFrom(event.currentTarget.value)}
        required
        withAsterisk={false}
      />
      <TextInput
        type="datetime-local"
        size="xs"
        label={t("usage.range.to")}
        value={to}
        error={bad && t("usage.range.bad")}
        onChange={(event) => setTo(event.currentTarget.value)}
        required
        withAsterisk={false}
      />
      <Button type="submit" size="xs" variant="default">
        {t("usage.range.apply")}
      </Button>
    </form>
  );
}

// What the browser's field wants: the reader's own time without a zone.
function local(at: number): string {
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function customRange(from: string, to: string): Partial<UsageSearch> | undefined {
  const [start, end] = [Date.parse(from), Date.parse(to)];
  if (!(start < end) || end - start > longestRange) return undefined;
  return { range: "custom", from: new Date(start).toISOString(), to: new Date(end).toISOString() };
}
