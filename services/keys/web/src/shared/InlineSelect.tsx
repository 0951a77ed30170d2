import { NativeSelect } from "@mantine/core";
import classes from "./InlineSelect.module.css";

type Props<T extends string> = {
  label: string;
  value: T;
  onChange: (value: T) => void;
  options: { value: T; label: string }[];
  className?: string;
};

/** InlineSelect is a small choice with its name beside it. */
export function InlineSelect<T extends string>({ label, value, onChange, options, className }: Props<T>) {
  return (
    <NativeSelect
      size="xs"
      label={label}
      value={value}
      onChange={(event) => {
        const chosen = options.find((option) => option.value === event.currentTarget.value);
        if (chosen) onChange(chosen.value);
      }}
      data={options}
      className={className}
      classNames={{ root: classes.select, label: classes.label }}
    />
  );
}
