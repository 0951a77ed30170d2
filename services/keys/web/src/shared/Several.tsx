import { MultiSelect } from "@mantine/core";
import classes from "./Several.module.css";

/** Named is something to choose, by id. */
export type Named = { id: string; name: string };

type Props = {
  label: string;
  description?: string;
  placeholder: string;
  size?: "xs" | "sm";
  all: readonly Named[];
  value: string[];
  onChange: (value: string[]) => void;
  error?: React.ReactNode;
};

/** Several chooses several things by their names. What is chosen and cannot be seen, or is gone, keeps its place. */
export function Several({ all, value, placeholder, size = "xs", ...props }: Props) {
  const known = new Set(all.map(({ id }) => id));
  const data = [
    ...all.map(({ id, name }) => ({ value: id, label: name })),
    ...value.filter((id) => !known.has(id)).map((id) => ({ value: id, label: id })),
  ];
  return (
    <MultiSelect
      size={size}
      placeholder={value.length === 0 ? placeholder : undefined}
      data={data}
      value={value}
      searchable
      withScrollArea={false}
      classNames={{ options: classes.options }}
      limit={50}
      comboboxProps={{ transitionProps: { duration: 80 } }}
      {...props}
    />
  );
}
