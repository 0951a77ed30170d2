import "@/strings/late/apikeys";
import { Tabs, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { CopyButton } from "@/shared/CopyText";
import { useAllPolicies } from "@/shared/whole";
import classes from "./HowToUse.module.css";
import { placeOf, readKey, snippets } from "./snippets";

/**
 * HowToUse has lines to paste, for the languages that most people use. They read the key from the
 * environment, so that they can be shown at any time and do not spread it.
 */
export function HowToUse({ policy }: { policy: string | undefined }) {
  const { t } = useTranslation();
  const { items: policies } = useAllPolicies();
  const [baseUrl, setBaseUrl] = useState(() => placeOf(location.origin).baseUrl);
  const name = policy ?? policies?.find(({ version }) => version > 0n)?.name;
  const place = {
    baseUrl: baseUrl.trim().replace(/\/+$/, ""),
    grpc: grpcOf(baseUrl),
    model: name ? `policy/${name}` : "openai/gpt-4o-mini",
  };
  return (
    <div className={classes.use}>
      <TextInput
        label={t("apiKeys.use.baseUrl")}
        description={t("apiKeys.use.baseUrlHint")}
        value={baseUrl}
        onChange={(event) => setBaseUrl(event.currentTarget.value)}
        type="url"
        spellCheck={false}
        autoComplete="off"
        classNames={{ input: "mono" }}
      />
      <div>
        <p className={classes.words}>{t("apiKeys.use.env")}</p>
        <Code text={readKey} label={readKey} />
      </div>
      <Tabs defaultValue="curl" keepMounted={false}>
        <Tabs.List aria-label={t("apiKeys.use.languages")} className={classes.tabs}>
          {snippets.map((snippet) => (
            <Tabs.Tab key={snippet.id} value={snippet.id}>
              {snippet.name}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {snippets.map((snippet) => (
          <Tabs.Panel key={snippet.id} value={snippet.id}>
            <Code text={snippet.code(place)} label={t("apiKeys.use.copy", { language: snippet.name })} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </div>
  );
}

function Code({ text, label }: { text: string; label: string }) {
  return (
    <div className={classes.code}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also with the keyboard */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <CopyButton value={text} label={label} />
    </div>
  );
}

function grpcOf(baseUrl: string): string {
  return URL.canParse(baseUrl) ? placeOf(new URL(baseUrl).origin).grpc : "";
}
