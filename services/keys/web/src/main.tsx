import "./theme/layers.css";
import "@mantine/core/styles.layer.css";
import "virtual:theme.css";
import "./theme/global.css";
import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { router } from "./app/router";
import { startStrings } from "./strings/i18n";
import { namedTheme } from "./theme/named";
import { schemeKey } from "./theme/theme";

startStrings();

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no root");

// No style elements: the variables are in a stylesheet, and responsive classes and props are not used.
createRoot(root).render(
  <StrictMode>
    <MantineProvider
      theme={namedTheme()}
      defaultColorScheme="auto"
      colorSchemeManager={localStorageColorSchemeManager({ key: schemeKey })}
      withCssVariables={false}
      withGlobalClasses={false}
    >
      <RouterProvider router={router} />
    </MantineProvider>
  </StrictMode>,
);
