import "@/strings/late/usage";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useTranslation } from "react-i18next";
import type { QueryUsageResponse } from "@/gen/claviger/metering/v1/usage_pb";
import { utcTime } from "@/shared/format";
import { clockName } from "./range";
import classes from "./UsagePage.module.css";

/** Complete says up to which moment every attempt is counted, and who holds that back. */
export function Complete({ answer, live }: { answer: QueryUsageResponse; live: boolean }) {
  const { t } = useTranslation();
  const silent = answer.silentRouters;
  if (!answer.completeThrough) {
    return (
      <p className={classes.complete}>
        <span data-late>{t("usage.complete.unknown")}</span>
      </p>
    );
  }
  const at = timestampMs(answer.completeThrough);
  const time = clockName(at, Date.now());
  return (
    <p className={classes.complete}>
      <span data-late={silent.length > 0 || undefined}>
        <time dateTime={new Date(at).toISOString()} title={utcTime(at)}>
          {t("usage.complete.through", { time })}
        </time>
        {silent.length > 0 &&
          `${t("usage.complete.silent", { count: silent.length, names: silent.join(", ") })} ${time}. ${t("usage.complete.silentHint")}`}
      </span>
      {live && <span>{t("usage.complete.live")}</span>}
    </p>
  );
}
