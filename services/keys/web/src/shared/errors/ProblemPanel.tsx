import { Button, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { CopyText } from "../CopyText";
import classes from "./ProblemPanel.module.css";
import { problemOf } from "./problem";
import { problemWords } from "./words";

type Props = {
  error: unknown;
  /** What could not be done, such as "The credentials could not be loaded". */
  title?: string;
  /** Whether broken fields are shown where they are, too. */
  beside?: boolean;
  onRetry?: () => void;
  retrying?: boolean;
};

/** ProblemPanel says what happened, what to do next, and under which request id it can be found. */
export function ProblemPanel({ error, title, beside, onRetry, retrying }: Props) {
  const { t } = useTranslation();
  const problem = problemOf(error);
  const words = problemWords(t, problem);
  return (
    <div className={classes.panel} role="alert">
      <IconAlertTriangle className={classes.icon} size={18} stroke={1.8} aria-hidden />
      <div className={classes.body}>
        <Text size="sm" fw={600}>
          {title ?? words.what}
        </Text>
        {title && <Text size="sm">{words.what}</Text>}
        {words.next && (
          <Text size="sm" c="dimmed">
            {words.next}
          </Text>
        )}
        {!beside && <Fields fields={problem.fields} />}
        {(onRetry || problem.requestId) && (
          <div className={classes.foot}>
            {onRetry && (
              <Button size="xs" variant="default" onClick={onRetry} loading={retrying}>
                {t("common.retry")}
              </Button>
            )}
            {problem.requestId && (
              <CopyText
                value={problem.requestId}
                label={t("errors.requestId")}
                prefix={t("errors.requestId")}
              />
            )}
          </div>
        )}
      </div>
    </div>
  );
}

function Fields({ fields }: { fields: Record<string, string> }) {
  const entries = Object.entries(fields);
  if (entries.length === 0) return null;
  return (
    <ul className={classes.fields}>
      {entries.map(([field, description]) => (
        <li key={field}>
          <code>{field}</code> {description}
        </li>
      ))}
    </ul>
  );
}
