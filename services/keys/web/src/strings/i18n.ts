import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import { en } from "./en";

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

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}
