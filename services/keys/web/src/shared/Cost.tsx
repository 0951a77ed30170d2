import { Tooltip } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { formatCost } from "./format";
import { exactCost } from "./money";

/** Known is a sum of costs that are known, and how many are not. */
type Known = { cost: bigint; unknownCost: bigint };

/** SumOfCosts says a sum; if a part of it is unknown, that it is at least that, and never zero. */
export function SumOfCosts({ of: { cost, unknownCost } }: { of: Known }) {
  const { t } = useTranslation();
  if (unknownCost === 0n) return <Cost nano={cost} />;
  if (cost === 0n) return <Cost nano={undefined} />;
  return (
    <span className="num" title={t("common.partlyUnknownCost")}>
      ≥ <Cost nano={cost} />
    </span>
  );
}

/** Cost says an amount of nano-dollars, and on hover with every digit. Absent is unknown, which is not zero. */
export function Cost({ nano }: { nano: bigint | undefined }) {
  const { t } = useTranslation();
  if (nano === undefined) return <span title={t("common.unknownCost")}>{t("common.unknown")}</span>;
  const shown = formatCost(nano);
  const exact = exactCost(nano);
  if (shown === exact) return <span className="num">{shown}</span>;
  return (
    <Tooltip label={<span className="num">{exact}</span>}>
      <span className="num">{shown}</span>
    </Tooltip>
  );
}
