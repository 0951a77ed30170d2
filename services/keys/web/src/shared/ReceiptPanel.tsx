import "@/strings/late/receipt";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { useTranslation } from "react-i18next";
import type { Receipt } from "@/gen/claviger/keys/v1/receipt_pb";
import classes from "./ReceiptPanel.module.css";
import { Status } from "./Status";

type Props = {
  receipt: Receipt;
  /** Whether answers under way were to be cut. */
  cut: boolean;
};

/** ReceiptPanel says how far a change has gone: how many routers serve under it, and how long that took. */
export function ReceiptPanel({ receipt, cut }: Props) {
  const { t } = useTranslation();
  const { connected, confirmed, missing, streamsCut, elapsed } = receipt;
  const all = connected > 0 && confirmed >= connected;
  const time = secondsOf(elapsed ? durationMs(elapsed) : 0);
  return (
    <div className={classes.receipt} role="status">
      {connected === 0 ? (
        <Status tone="warn">{t("receipt.none")}</Status>
      ) : (
        <Status tone={all ? "good" : "warn"}>
          {t("receipt.confirmed", { confirmed, count: connected, time })}
        </Status>
      )}
      {missing.length > 0 && <p>{t("receipt.missing", { names: missing.join(", ") })}</p>}
      {cut && connected > 0 && (
        <p>{streamsCut > 0 ? t("receipt.streams", { count: streamsCut }) : t("receipt.noStreams")}</p>
      )}
      <p className={classes.quiet}>{t("receipt.version", { version: String(receipt.configVersion) })}</p>
    </div>
  );
}

/** secondsOf says a short time in seconds, to the hundredth below a tenth. */
export function secondsOf(milliseconds: number, locale?: string): string {
  if (milliseconds < 10) return "< 0.01 s";
  const maximumFractionDigits = milliseconds < 100 ? 2 : 1;
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits }).format(milliseconds / 1000)} s`;
}
