import {
  convertCssVariables,
  DEFAULT_THEME,
  defaultCssVariablesResolver,
  mergeMantineTheme,
} from "@mantine/core";
import type { Plugin } from "vite";
import { theme } from "../src/theme/theme.ts";

const id = "virtual:theme.css";

/**
 * Makes the theme's CSS variables a stylesheet. Mantine would put them into a style element at run
 * time, which our content security policy refuses.
 */
export function themeCss(): Plugin {
  return {
    name: "theme-css",
    resolveId: (source) => (source === id ? `\0${id}` : null),
    load: (source) => (source === `\0${id}` ? themeVariables() : null),
  };
}

/** themeVariables returns the stylesheet, in Mantine's layer: what global.css says of a variable wins. */
export function themeVariables(): string {
  const variables = defaultCssVariablesResolver(mergeMantineTheme(DEFAULT_THEME, theme));
  return `@layer mantine {${convertCssVariables(variables, ":root")}}`;
}
