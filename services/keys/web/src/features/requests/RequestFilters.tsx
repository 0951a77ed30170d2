import { Switch, TextInput } from "@mantine/core";
import { useEffect, useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { useDimensionNames } from "@/features/usage/useDimensionNames";
import { Chooser } from "@/shared/Chooser";
import { FilterChips } from "@/shared/FilterChips";
import { filtersOf } from "@/shared/filters";
import { InlineSelect } from "@/shared/InlineSelect";
import inline from "@/shared/InlineSelect.module.css";
import { useModelNames } from "@/shared/useModelNames";
import { useObjectNames } from "@/shared/useObjectNames";
import classes from "./RequestFilters.module.css";
import type { SearchProps } from "./RequestsPage";

/** RequestFilters narrow the list down. What was chosen stands in the address. */
export function RequestFilters({ search, onSearch }: SearchProps) {
  const { t } = useTranslation();
  const nameOf = useDimensionNames();
  const { apiKeys, moreApiKeys } = useObjectNames();
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
      <Chooser
        size="xs"
        label={t("requests.filters.key")}
        value={key}
        onChange={(value) => onSearch({ key: value || undefined })}
        classNames={{ root: inline.select, label: inline.label }}
        more={moreApiKeys}
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
  const list = useId();
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const take = (next: string) => {
    if (next.trim() !== value) onChange(next.trim());
  };
  return (
    <>
      <TextInput
        size="xs"
        label={t("requests.filters.model")}
        placeholder={t("requests.filters.anyModel")}
        list={list}
        value={text}
        onChange={(event) => {
          const next = event.currentTarget.value;
          setText(next);
          // Emptied by its own button, or chosen from the list.
          if (next === "" || names.includes(next)) take(next);
        }}
        onBlur={() => take(text)}
        onKeyDown={(event) => {
          if (event.key === "Enter") take(text);
        }}
        type="search"
        maxLength={256}
        spellCheck={false}
        autoComplete="off"
        classNames={{ root: classes.model, label: classes.label }}
      />
      <datalist id={list}>
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </>
  );
}
