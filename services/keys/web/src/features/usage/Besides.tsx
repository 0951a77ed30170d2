import "@/strings/late/usage";
import { useTranslation } from "react-i18next";
import { formatCost } from "@/shared/format";
import { unitOrder, unitWords } from "@/shared/units";
import type { Sums } from "./sums";
import classes from "./UsagePage.module.css";

/** Besides says what was counted besides tokens and what providers say about the cost, if there is any. */
export function Besides({ sums }: { sums: Sums }) {
  const { t } = useTranslation();
  const units = useUnitWords()(sums);
  const elsewhere = sums.reportedCost - sums.providerCost;
  const parts = [
    units.length > 0 && t("usage.besides.units", { units: units.join(", ") }),
    sums.providerCost > 0n && t("usage.besides.provider", { cost: formatCost(sums.providerCost) }),
    elsewhere > 0n && t("usage.besides.reported", { cost: formatCost(elsewhere) }),
  ].filter((part) => part !== false);
  if (parts.length === 0) return null;
  return (
    <ul className={classes.besides}>
      {parts.map((part) => (
        <li key={part}>{part}</li>
      ))}
    </ul>
  );
}

/** useUnitWords says what was counted besides tokens, each unit by itself. */
export function useUnitWords(): (sums: Sums) => string[] {
  const { t } = useTranslation();
  return ({ units }) =>
    [...units]
      .filter(([, milli]) => milli > 0n)
      .sort(([a], [b]) => unitOrder(a, b))
      .map(([name, milli]) => unitWords(t, { name, milli }));
}
