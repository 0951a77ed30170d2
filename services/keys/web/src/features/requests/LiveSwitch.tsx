import { Button, Tooltip } from "@mantine/core";
import { IconPlayerPause, IconPlayerPlay, IconRefresh } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import classes from "./LiveSwitch.module.css";
import { pollEvery } from "./RequestsPage";
import type { Live } from "./useLive";

/** LiveSwitch says whether new requests appear by themselves, and stops or starts that. */
export function LiveSwitch({ live }: { live: Live }) {
  const { t } = useTranslation();
  const seconds = useSecondsUntil(live.retryAt);
  const state = live.state === "stopped" ? "connecting" : live.state;
  const words =
    state === "polling"
      ? t("requests.live.polling", { seconds: pollEvery / 1000 })
      : t(`requests.live.${state}`);
  const why =
    state === "reconnecting"
      ? t("requests.live.why")
      : state === "polling"
        ? t("requests.live.pollingWhy")
        : undefined;
  return (
    <div className={classes.live}>
      <Tooltip label={why} disabled={!why} multiline maw="18rem">
        <span className={classes.state} data-state={state}>
          <span className={classes.dot} aria-hidden />
          <span role="status">{words}</span>
          {state === "reconnecting" && seconds > 0 && (
            <span className="num">{t("requests.live.again", { seconds })}</span>
          )}
        </span>
      </Tooltip>
      {state === "reconnecting" && (
        <Button
          size="xs"
          variant="default"
          leftSection={<IconRefresh size={14} aria-hidden />}
          onClick={live.resume}
        >
          {t("requests.live.now")}
        </Button>
      )}
      {state !== "polling" && state !== "reconnecting" && (
        <Button
          size="xs"
          variant="default"
          leftSection={
            state === "paused" ? (
              <IconPlayerPlay size={14} aria-hidden />
            ) : (
              <IconPlayerPause size={14} aria-hidden />
            )
          }
          onClick={state === "paused" ? live.resume : live.pause}
        >
          {t(state === "paused" ? "requests.live.resume" : "requests.live.pause")}
        </Button>
      )}
    </div>
  );
}

function useSecondsUntil(at: number | undefined): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (at === undefined) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [at]);
  return at === undefined ? 0 : Math.max(0, Math.ceil((at - now) / 1000));
}
