import "@/strings/late/policies";
import { ActionIcon, Button, TagsInput, TextInput } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { NumberField } from "@/shared/NumberField";
import { Patterns } from "@/shared/Patterns";
import { Several } from "@/shared/Several";
import classes from "./RuleEditor.module.css";
import { type Condition, newKey, type TagCondition } from "./rule";
import type { Choices } from "./useChoices";

type Props = {
  when: Condition;
  onChange: (part: Partial<Condition>) => void;
  choices: Choices;
  error: (field: string) => React.ReactNode;
};

/** Conditions say for which requests a group is there. */
export function Conditions({ when, onChange, choices, error }: Props) {
  const { t } = useTranslation();
  const { tags } = when;
  const change = (key: number, part: Partial<TagCondition>) =>
    onChange({ tags: tags.map((tag) => (tag.key === key ? { ...tag, ...part } : tag)) });
  return (
    <>
      <p className={classes.hint}>{t("policies.when.hint")}</p>
      <fieldset className={classes.set}>
        <legend>{t("policies.when.tags")}</legend>
        {tags.map(({ key, name, values }, index) => (
          <div key={key} className={classes.tag}>
            <TextInput
              size="xs"
              aria-label={t("policies.when.tag", { number: index + 1 })}
              placeholder={t("policies.when.tagKey")}
              value={name}
              onChange={(event) => change(key, { name: event.currentTarget.value })}
              error={error(`when.tags[${index}].key`)}
              maxLength={64}
              spellCheck={false}
              autoComplete="off"
            />
            <TagsInput
              size="xs"
              aria-label={t("policies.when.tagValues", { number: index + 1 })}
              placeholder={values.length === 0 ? t("policies.when.tagAny") : undefined}
              value={values}
              onChange={(next) => change(key, { values: next })}
              error={error(`when.tags[${index}].values`)}
              maxTags={32}
              acceptValueOnBlur
              clearable={false}
            />
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={t("policies.when.removeTag", { number: index + 1 })}
              onClick={() => onChange({ tags: tags.filter((tag) => tag.key !== key) })}
            >
              <IconTrash size={16} />
            </ActionIcon>
          </div>
        ))}
        <div>
          <Button
            variant="default"
            size="compact-xs"
            leftSection={<IconPlus size={12} />}
            disabled={tags.length >= 16}
            onClick={() => onChange({ tags: [...tags, { key: newKey(), name: "", values: [] }] })}
          >
            {t("policies.when.addTag")}
          </Button>
        </div>
      </fieldset>
      <Patterns
        label={t("policies.when.models")}
        description={t("policies.when.modelsHint")}
        value={when.models}
        onChange={(models) => onChange({ models })}
        error={error("when.models")}
        most={64}
      />
      <div className={classes.fields}>
        <NumberField
          label={t("policies.when.minInput")}
          description={t("policies.when.tokens")}
          value={when.minInput}
          onChange={(minInput) => onChange({ minInput })}
          max={100_000_000}
          error={error("when.min_input_tokens")}
        />
        <NumberField
          label={t("policies.when.maxInput")}
          description={t("policies.when.tokens")}
          value={when.maxInput}
          onChange={(maxInput) => onChange({ maxInput })}
          max={100_000_000}
          error={error("when.max_input_tokens")}
        />
      </div>
      <Several
        placeholder={t("policies.when.any")}
        label={t("policies.when.apiKeys")}
        all={choices.apiKeys}
        value={when.apiKeyIds}
        onChange={(apiKeyIds) => onChange({ apiKeyIds })}
        error={error("when.api_key_ids")}
      />
      <Several
        placeholder={t("policies.when.any")}
        label={t("policies.when.groups")}
        all={choices.groups}
        value={when.groupIds}
        onChange={(groupIds) => onChange({ groupIds })}
        error={error("when.group_ids")}
      />
    </>
  );
}
