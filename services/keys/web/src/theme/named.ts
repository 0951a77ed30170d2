import { mergeThemeOverrides } from "@mantine/core";
import i18next from "i18next";
import { theme } from "./theme";

/** namedTheme is the theme with the names of buttons that Mantine makes itself. Call it after startStrings. */
export function namedTheme() {
  return mergeThemeOverrides(theme, {
    components: {
      CloseButton: { defaultProps: { "aria-label": i18next.t("common.close") } },
      PasswordInput: {
        defaultProps: {
          visibilityToggleFocusable: true,
          visibilityToggleButtonProps: { "aria-label": i18next.t("common.showSecret") },
        },
      },
    },
  });
}
