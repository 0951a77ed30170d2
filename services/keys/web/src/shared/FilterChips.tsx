import "@/strings/late/usage";
import { Button } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import classes from "./FilterChips.module.css";
import { type FilterName, type Filters, filterNames } from "./filters";

type Props = {
  filters: Filters;
  nameOf: (name: FilterName, value: string) => string;
  onRemove: (name: FilterName) => void;
  onClear: () => void;
  /** What else can be done with what is filtered. */
  children?: React.ReactNode;
};

/** FilterChips says what a page is narrowed down to, and takes it back. */
export function FilterChips({ filters, nameOf, onRemove, onClear, children }: Props) {
  const { t } = useTranslation();
  const set = filterNames.filter((name) => filters[name] !== undefined);
  if (set.length === 0) return null;
  return (
    <div className={classes.chips}>
      <span className={classes.title}>{t("usage.filters.title")}</span>
      {set.map((name) => {
        const label = t(`usage.filters.names.${name}`);
        return (
          <button
            key={name}
            type="button"
            className={classes.chip}
            aria-label={t("usage.filters.remove", { name: label })}
            onClick={() => onRemove(name)}
          >
            <span className={classes.name}>{label}</span>
            <span className={classes.value}>{nameOf(name, filters[name] ?? "")}</span>
            <IconX size={13} aria-hidden />
          </button>
        );
      })}
      {set.length > 1 && (
        <Button variant="subtle" color="gray" size="compact-xs" onClick={onClear}>
          {t("usage.filters.clear")}
        </Button>
      )}
      {children}
    </div>
  );
}
