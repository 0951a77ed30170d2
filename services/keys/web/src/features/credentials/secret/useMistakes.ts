import "@/strings/late/secret";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Fields, Mistakes } from "./draft";

/**
 * useMistakes says what is wrong with a field: what the page found when the form was sent, else what the
 * server has said of it.
 */
export function useMistakes(errors: Fields | undefined) {
  const { t } = useTranslation();
  const [mistakes, setMistakes] = useState<Mistakes>();
  return {
    setMistakes,
    of(field: string): string | undefined {
      if (!mistakes) return errors?.[field] && sentence(errors[field]);
      const mistake = mistakes[field];
      return mistake && sentence(t(`secret.mistakes.${mistake}`));
    },
    all: Object.keys(mistakes ?? errors ?? {}),
  };
}

function sentence(text: string): string {
  const start = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}
