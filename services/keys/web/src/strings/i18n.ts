import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import { en } from "./en";
import type { apiKeys } from "./en/apikeys";
import type { credential } from "./en/credential";
import type { credentials } from "./en/credentials";
import type { firstKey } from "./en/firstkey";
import type { groups } from "./en/groups";
import type { members } from "./en/members";
import type { policies } from "./en/policies";
import type { preview } from "./en/preview";
import type { receipt } from "./en/receipt";
import type { request } from "./en/request";
import type { routing } from "./en/routing";
import type { secret } from "./en/secret";
import type { usage } from "./en/usage";

/** Late are the words that pages bring along: whoever says them imports them from late/. */
export type Late = {
  apiKeys: typeof apiKeys;
  credential: typeof credential;
  credentials: typeof credentials;
  firstKey: typeof firstKey;
  groups: typeof groups;
  members: typeof members;
  policies: typeof policies;
  preview: typeof preview;
  receipt: typeof receipt;
  routing: typeof routing;
  secret: typeof secret;
  usage: typeof usage;
  requests: typeof request;
};

/** Starts the catalogue. Everything is in memory, so nothing has to be waited for. */
export function startStrings(): void {
  void i18next.use(initReactI18next).init({
    lng: "en",
    fallbackLng: "en",
    resources: { en: { translation: en } },
    interpolation: { escapeValue: false }, // React escapes
    initAsync: false,
    showSupportNotice: false,
  } as Parameters<typeof i18next.init>[0]);
}

/** addWords adds words to those that are there. */
export function addWords(words: Partial<Late>): void {
  i18next.addResourceBundle("en", "translation", words, true, true);
}

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en & Late };
  }
}
