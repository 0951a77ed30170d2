import { Autocomplete, Switch } from "@mantine/core";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useDimensionNames } from "@/features/usage/useDimensionNames";
import { FilterChips } from "@/shared/FilterChips";
import { filtersOf } from "@/shared/filters";
import { InlineSelect } from "@/shared/InlineSelect";
import { useModelNames } from "@/shared/useModelNames";
import { useObjectNames } from "@/shared/useObjectNames";
import classes from "./RequestFilters.module.css";
import type { SearchProps } from "./RequestsPage";

/** RequestFilters narrow the list down. What was chosen stands in the address. */
export function RequestFilters({ search, onSearch }: SearchProps) {
  const { t } = useTranslation();
  const nameOf = useDimensionNames();
  const { apiKeys } = useObjectNames();
  // Those with a field of their own are not shown again as chips.
  const { class: _class, key: _key, model: _model, ...others } = filtersOf(search);
  const key = search.key ?? "";
  const known = apiKeys.some(({ id }) => id === key);
  return (
    <div className={classes.bar}>
      <Switch
        size="xs"
        label={t("requests.filters.errors")}
        checked={search.errors ?? false}
        onChange={(event) => onSearch({ errors: event.currentTarget.checked || undefined })}
      />
      <ModelFilter value={search.model ?? ""} onChange={(model) => onSearch({ model: model || undefined })} />
      <InlineSelect
        label={t("requests.filters.class")}
        value={search.class ?? ""}
        onChange={(value) => onSearch({ class: value === "" ? undefined : value })}
        options={[
          { value: "" as const, label: t("requests.filters.anyClass") },
          { value: "own" as const, label: t("common.own") },
          { value: "platform" as const, label: t("common.platform") },
        ]}
      />
      <InlineSelect
        label={t("requests.filters.key")}
        value={key}
        onChange={(value) => onSearch({ key: value || undefined })}
        options={[
          { value: "", label: t("requests.filters.anyKey") },
          ...(key && !known ? [{ value: key, label: nameOf("key", key) }] : []),
          ...apiKeys.map(({ id, name }) => ({ value: id, label: name })),
        ]}
      />
      <FilterChips
        filters={others}
        nameOf={nameOf}
        onRemove={(name) => onSearch({ [name]: undefined })}
        onClear={() => onSearch(Object.fromEntries(Object.keys(others).map((name) => [name, undefined])))}
      />
    </div>
  );
}

// Typed freely, and taken when it is chosen, entered or left.
function ModelFilter({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const { t } = useTranslation();
  const names = useModelNames();
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const take = (next: string) => {
    if (next.trim() !== value) onChange(next.trim());
  };
  return (
    <Autocomplete
      size="xs"
      label={t("requests.filters.model")}
      placeholder={t("requests.filters.anyModel")}
      data={names}
      limit={30}
      maxDropdownHeight={260}
      value={text}
      onChange={(next) => {
        setText(next);
        if (next === "") take("");
      }}
      onOptionSubmit={take}
      onBlur={() => take(text)}
      onKeyDown={(event) => {
        if (event.key === "Enter") take(text);
      }}
      maxLength={256}
      spellCheck={false}
      clearable
      clearButtonProps={{ "aria-label": t("usage.filters.remove", { name: t("requests.filters.model") }) }}
      classNames={{ root: classes.model, label: classes.label }}
    />
  );
}
