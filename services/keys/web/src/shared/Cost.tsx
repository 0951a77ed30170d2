import { Tooltip } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { formatCost } from "./format";
import { exactCost } from "./money";

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
