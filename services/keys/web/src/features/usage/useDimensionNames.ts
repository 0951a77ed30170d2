import "@/strings/late/usage";
import { useCallback } from "react";
import { useTranslation } from "react-i18next";
import { providerName } from "@/features/credentials/names";
import type { FilterName } from "@/shared/filters";
import { useNames } from "@/shared/useNames";
import { useObjectNames } from "@/shared/useObjectNames";
import type { Grouping } from "./search";

/** useDimensionNames returns how to say a value of a dimension to a person. */
export function useDimensionNames(): (of: FilterName | Grouping, value: string) => string {
  const { t } = useTranslation();
  const objects = useObjectNames();
  const memberOf = useNames();
  return useCallback(
    (of, value) => {
      if (value === "") return of === "tagged" ? t("usage.filters.none") : t(`usage.by.none.${of}`);
      switch (of) {
        case "class":
          return value === "own" ? t("common.own") : value === "platform" ? t("common.platform") : value;
        case "provider":
          return providerName(value);
        case "key":
          return objects.apiKey(value) ?? value;
        case "credential":
          return objects.credential(value) ?? value;
        case "policy":
          return objects.policy(value) ?? value;
        case "member":
          return memberOf(value);
        default:
          return value;
      }
    },
    [t, objects, memberOf],
  );
}
