import "@/strings/late/secret";
import { Textarea } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Fields, type Mistakes, readJson } from "./draft";

type Props = {
  form: "azure" | "aws" | "google";
  label: string;
  description: string;
  placeholder?: string;
  error?: string | undefined;
  onRead: (lines: Fields[]) => void;
};

/**
 * PasteJson takes JSON to pieces as soon as it is whole, and keeps nothing of it. What is wrong with it
 * is said by field.
 */
export function PasteJson({ form, label, description, placeholder, error, onRead }: Props) {
  const { t } = useTranslation();
  const [mistakes, setMistakes] = useState<Mistakes>({});
  const wrong = Object.entries(mistakes)
    .map(([field, mistake]) => `${field ? `${field} ` : ""}${t(`secret.mistakes.${mistake}`)}`)
    .join("; ");
  return (
    <Textarea
      label={label}
      description={description}
      placeholder={placeholder}
      error={wrong || error}
      rows={3}
      autoComplete="off"
      autoCapitalize="none"
      autoCorrect="off"
      spellCheck={false}
      data-1p-ignore
      data-lpignore="true"
      data-bwignore
      classNames={{ input: "mono" }}
      onChange={(event) => {
        const input = event.currentTarget;
        const text = input.value.trim();
        if (text === "") return setMistakes({});
        const read = readJson(text, form);
        setMistakes(read.mistakes);
        if (Object.keys(read.mistakes).length > 0) return;
        input.value = "";
        onRead(read.lines);
      }}
    />
  );
}
