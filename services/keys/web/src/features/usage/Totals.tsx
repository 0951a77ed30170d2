import "@/strings/late/usage";
import { useTranslation } from "react-i18next";
import { SumOfCosts } from "@/shared/Cost";
import { compactCount, formatCost, formatCount } from "@/shared/format";
import { share } from "@/shared/money";
import { colors } from "./colors";
import type { Split } from "./sums";
import classes from "./UsagePage.module.css";

/** Totals are the sums over the whole range. */
export function Totals({ split: { own, platform, all } }: { split: Split }) {
  const { t } = useTranslation();
  return (
    <dl className={classes.totals} aria-label={t("usage.totals.label")}>
      <Total
        name={t("usage.totals.requests")}
        hint={t("usage.totals.attempts", { count: Number(all.attempts) })}
      >
        <Count of={all.requests} />
      </Total>
      <Total
        name={t("usage.totals.tokensIn")}
        hint={t("usage.totals.cached", { number: compactCount(all.cached) })}
      >
        <Count of={all.input} />
      </Total>
      <Total name={t("usage.totals.tokensOut")}>
        <Count of={all.output} />
      </Total>
      <Total name={t("usage.totals.ownCost")} color={colors.own} hint={t("usage.totals.ownHint")}>
        <SumOfCosts of={own} />
      </Total>
      <Total
        name={t("usage.totals.platformCost")}
        color={colors.platform}
        hint={t("usage.totals.platformHint")}
      >
        <SumOfCosts of={platform} />
      </Total>
      <Total
        name={t("usage.totals.errors")}
        hint={t("usage.totals.errorsHint", { share: share(all.errors, all.attempts) })}
      >
        <Count of={all.errors} />
      </Total>
      <Total
        name={t("usage.totals.estimates")}
        hint={
          all.estimated === 0n
            ? t("usage.totals.estimatesNone")
            : t("usage.totals.estimatesHint", { cost: formatCost(all.estimatedCost) })
        }
      >
        {share(all.estimated, all.attempts)}
      </Total>
    </dl>
  );
}

function Total(props: { name: string; color?: string; hint?: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>
        {props.color && (
          <span
            className={classes.swatch}
            style={{ "--swatch": props.color } as React.CSSProperties}
            aria-hidden
          />
        )}
        {props.name}
      </dt>
      <dd>
        <div className={classes.value}>{props.children}</div>
        {props.hint && <div className={classes.hint}>{props.hint}</div>}
      </dd>
    </div>
  );
}

/** Count is a number: short if it is long, with all digits on hover. */
export function Count({ of }: { of: bigint }) {
  const long = of >= 100_000n;
  return <span title={long ? formatCount(of) : undefined}>{long ? compactCount(of) : formatCount(of)}</span>;
}
