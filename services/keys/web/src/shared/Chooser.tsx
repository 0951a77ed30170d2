import { NativeSelect, Select } from "@mantine/core";
import { useTranslation } from "react-i18next";
import classes from "./Several.module.css";

/** Choice is one thing to choose. */
export type Choice = { value: string; label: string };

type Props = {
  label?: string;
  "aria-label"?: string;
  description?: React.ReactNode;
  error?: React.ReactNode;
  size?: "xs" | "sm";
  value: string;
  onChange: (value: string) => void;
  options: readonly (Choice | { group: string; items: Choice[] })[];
  /** There are more than these, such as while a long list is still being read. */
  more?: boolean;
  maw?: string;
  className?: string;
  classNames?: { root?: string; label?: string };
};

/** A plain select shows so many at most; browsers and phones are best at short lists. */
const short = 30;

/**
 * Chooser chooses one of some objects by name. A long list can be searched. What is chosen and not among them,
 * since it cannot be seen or is gone, keeps its place.
 */
export function Chooser({ options, more = false, value, onChange, classNames, ...props }: Props) {
  const { t } = useTranslation();
  const all = options.flatMap((option) => ("group" in option ? option.items : [option]));
  const data = [
    ...options,
    ...(all.some((option) => option.value === value) ? [] : [{ value, label: value }]),
  ];
  if (!more && all.length <= short) {
    return (
      <NativeSelect
        value={value}
        onChange={(event) => onChange(event.currentTarget.value)}
        data={data}
        classNames={classNames}
        {...props}
      />
    );
  }
  return (
    <Select
      value={value}
      onChange={(next) => next !== null && onChange(next)}
      data={data}
      allowDeselect={false}
      searchable
      selectFirstOptionOnChange
      limit={50}
      nothingFoundMessage={t(more ? "common.noneFoundYet" : "common.noneFound")}
      withScrollArea={false}
      classNames={{ ...classNames, options: classes.options }}
      comboboxProps={{ transitionProps: { duration: 80 } }}
      {...props}
    />
  );
}
