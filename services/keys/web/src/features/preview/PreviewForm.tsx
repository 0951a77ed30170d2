import "@/strings/late/preview";
import { Autocomplete, Button, NativeSelect, TagsInput, TextInput } from "@mantine/core";
import { IconRouteScan } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Chooser } from "@/shared/Chooser";
import { type Num, NumberField } from "@/shared/NumberField";
import { Panel } from "@/shared/Page";
import several from "@/shared/Several.module.css";
import { useModelNames } from "@/shared/useModelNames";
import { useAllPolicies } from "@/shared/whole";
import classes from "./PreviewPage.module.css";
import { isTag, type Operation, operations, type PreviewSearch, previewSearch } from "./search";

type Props = {
  search: PreviewSearch;
  apiKeys: { id: string; name: string }[];
  moreApiKeys: boolean;
  busy: boolean;
  onAsk: (next: PreviewSearch) => void;
};

/** PreviewForm says which request is asked about. */
export function PreviewForm({ search, apiKeys, moreApiKeys, busy, onAsk }: Props) {
  const { t } = useTranslation();
  const models = useModelNames();
  const policies = useAllPolicies().items ?? [];
  const [key, setKey] = useState(search.key ?? "");
  const [missing, setMissing] = useState(false);
  const [model, setModel] = useState(search.model ?? "");
  const [operation, setOperation] = useState<Operation>(search.operation ?? "chat");
  const [input, setInput] = useState<Num>(search.input ?? "");
  const [output, setOutput] = useState<Num>(search.output ?? "");
  const [tags, setTags] = useState(search.tags ?? []);
  const [session, setSession] = useState(search.session ?? "");
  const bad = tags.find((tag) => !isTag(tag));
  return (
    <Panel>
      <form
        noValidate
        aria-label={t("preview.form.title")}
        className={classes.form}
        onSubmit={(event) => {
          event.preventDefault();
          setMissing(!key);
          if (!key || bad !== undefined) return;
          onAsk(
            previewSearch({
              key,
              model: model.trim(),
              operation,
              input,
              output,
              tags,
              session: session.trim(),
            }),
          );
        }}
      >
        <div className={classes.fields}>
          <Chooser
            label={t("preview.form.key")}
            description={t("preview.form.keyHint")}
            value={key}
            error={missing && t("preview.form.keyMissing")}
            onChange={(next) => {
              setMissing(false);
              setKey(next);
            }}
            more={moreApiKeys}
            options={[
              { value: "", label: t("preview.form.choose") },
              ...apiKeys.map(({ id, name }) => ({ value: id, label: name })),
            ]}
          />
          <Autocomplete
            label={t("preview.form.model")}
            description={t("preview.form.modelHint")}
            placeholder={t("preview.form.modelPlaceholder")}
            data={[
              {
                group: t("preview.form.policies"),
                items: policies.filter(({ version }) => version > 0n).map(({ name }) => `policy/${name}`),
              },
              { group: t("preview.form.models"), items: models },
            ]}
            value={model}
            onChange={setModel}
            limit={40}
            withScrollArea={false}
            maxLength={256}
            spellCheck={false}
            autoComplete="off"
            classNames={{ input: "mono", options: several.options }}
            comboboxProps={{ transitionProps: { duration: 80 } }}
          />
        </div>
        <div className={classes.details}>
          <NativeSelect
            size="xs"
            label={t("preview.form.operation")}
            description={t("preview.form.streaming")}
            value={operation}
            onChange={(event) => setOperation(event.currentTarget.value as Operation)}
            data={operations.map((value) => ({ value, label: t(`preview.form.operations.${value}`) }))}
          />
          <NumberField
            label={t("preview.form.input")}
            description={t("preview.form.sizeHint")}
            unit={t("preview.form.tokens")}
            value={input}
            onChange={setInput}
            max={100_000_000}
          />
          <NumberField
            label={t("preview.form.output")}
            description={t("preview.form.outputHint")}
            unit={t("preview.form.tokens")}
            value={output}
            onChange={setOutput}
            max={10_000_000}
          />
          <TagsInput
            size="xs"
            label={t("preview.form.tags")}
            description={t("preview.form.tagsHint")}
            placeholder={tags.length === 0 ? "env=prod" : undefined}
            value={tags}
            onChange={setTags}
            error={bad !== undefined && t("preview.form.tagBad", { tag: bad })}
            maxTags={16}
            acceptValueOnBlur
            clearable={false}
          />
          <TextInput
            size="xs"
            label={t("preview.form.session")}
            description={t("preview.form.sessionHint")}
            value={session}
            onChange={(event) => setSession(event.currentTarget.value)}
            maxLength={256}
            spellCheck={false}
            autoComplete="off"
          />
        </div>
        <div>
          <Button type="submit" loading={busy} leftSection={<IconRouteScan size={17} aria-hidden />}>
            {t("preview.ask")}
          </Button>
        </div>
      </form>
    </Panel>
  );
}
