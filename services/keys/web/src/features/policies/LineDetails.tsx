import "@/strings/late/policies";
import { Checkbox, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { NumberField } from "@/shared/NumberField";
import classes from "./RuleEditor.module.css";
import type { Details } from "./rule";
import { errorClasses } from "./words";

type Props = {
  details: Details;
  onChange: (part: Partial<Details>) => void;
  /** What is wrong with a field, by its name in the contract. */
  error: (field: string) => React.ReactNode;
};

/** LineDetails are what most lines leave to the router: how long to wait, when to move on, what to replace. */
export function LineDetails({ details, onChange, error }: Props) {
  const { t } = useTranslation();
  const seconds = { unit: "s", decimals: 3 };
  return (
    <>
      <div className={classes.fields}>
        <NumberField
          {...seconds}
          label={t("policies.details.firstByte")}
          description={t("policies.details.standard")}
          value={details.firstByte}
          onChange={(firstByte) => onChange({ firstByte })}
          max={900}
          error={error("timeouts.first_byte")}
        />
        <NumberField
          {...seconds}
          label={t("policies.details.betweenChunks")}
          description={t("policies.details.standard")}
          value={details.betweenChunks}
          onChange={(betweenChunks) => onChange({ betweenChunks })}
          max={900}
          error={error("timeouts.between_chunks")}
        />
        <NumberField
          {...seconds}
          label={t("policies.details.total")}
          description={t("policies.details.standard")}
          value={details.total}
          onChange={(total) => onChange({ total })}
          max={3600}
          error={error("timeouts.total")}
        />
        <NumberField
          label={t("policies.details.retries")}
          description={t("policies.details.retriesHint")}
          value={details.retries}
          onChange={(retries) => onChange({ retries })}
          max={5}
          error={error("retries")}
        />
        <NumberField
          unit="ms"
          label={t("policies.details.backoff")}
          description={t("policies.details.backoffHint")}
          value={details.backoff}
          onChange={(backoff) => onChange({ backoff })}
          max={30_000}
          error={error("backoff")}
        />
      </div>
      <Checkbox.Group
        size="xs"
        label={t("policies.details.moveOn")}
        description={t("policies.details.moveOnHint")}
        value={details.moveOn}
        onChange={(moveOn) => onChange({ moveOn })}
        error={error("move_on")}
      >
        <div className={classes.checks}>
          {errorClasses.map((name) => (
            <Checkbox key={name} size="xs" value={name} label={t(`policies.errorClasses.${name}`)} />
          ))}
        </div>
      </Checkbox.Group>
      <fieldset className={classes.set}>
        <legend>{t("policies.details.overrides")}</legend>
        <div className={classes.fields}>
          <NumberField
            label={t("policies.details.temperature")}
            description={t("policies.details.asAsked")}
            decimals={3}
            value={details.temperature}
            onChange={(temperature) => onChange({ temperature })}
            max={2}
            error={error("overrides.temperature")}
          />
          <NumberField
            label={t("policies.details.topP")}
            description={t("policies.details.asAsked")}
            decimals={3}
            value={details.topP}
            onChange={(topP) => onChange({ topP })}
            max={1}
            error={error("overrides.top_p")}
          />
          <NumberField
            label={t("policies.details.maxOutput")}
            description={t("policies.details.asAsked")}
            value={details.maxOutput}
            onChange={(maxOutput) => onChange({ maxOutput })}
            min={1}
            max={10_000_000}
            error={error("overrides.max_output_tokens")}
          />
          <TextInput
            size="xs"
            label={t("policies.details.effort")}
            description={t("policies.details.asAsked")}
            value={details.effort}
            onChange={(event) => onChange({ effort: event.currentTarget.value })}
            maxLength={16}
            spellCheck={false}
            autoComplete="off"
            error={error("overrides.reasoning_effort")}
          />
        </div>
      </fieldset>
    </>
  );
}
