import { ActionIcon } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import classes from "./CopyText.module.css";

type Props = {
  value: string;
  /** What it is, for the button's name: "Copy request id". */
  label: string;
  /** Shown before the value. */
  prefix?: string;
  /** Shown instead of the value, such as a shortened id. */
  children?: React.ReactNode;
};

/** CopyText shows an id or a line with a button that copies it. */
export function CopyText({ value, label, prefix, children }: Props) {
  return (
    <span className={classes.copy}>
      {prefix && <span className={classes.prefix}>{prefix}</span>}
      <code className={classes.value}>{children ?? value}</code>
      <CopyButton value={value} label={label} />
    </span>
  );
}

/** CopyButton copies a value. */
export function CopyButton({ value, label }: { value: string; label: string }) {
  const { t } = useTranslation();
  const clipboard = useClipboard({ timeout: 1500 });
  const name = clipboard.copied ? t("common.copied") : t("common.copy", { what: label });
  return (
    <ActionIcon
      variant="subtle"
      color="gray"
      size="sm"
      aria-label={name}
      title={name}
      onClick={() => clipboard.copy(value)}
    >
      {clipboard.copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
    </ActionIcon>
  );
}
