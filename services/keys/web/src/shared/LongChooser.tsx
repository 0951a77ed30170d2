import { Select } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { ChooserProps } from "./Chooser";
import classes from "./Several.module.css";

/** LongChooser is the Chooser of a long list, which can be searched. Few pages meet one, so it comes by itself. */
export default function LongChooser({ options, more, value, onChange, classNames, ...props }: ChooserProps) {
  const { t } = useTranslation();
  return (
    <Select
      value={value}
      onChange={(next) => next !== null && onChange(next)}
      data={[...options]}
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
