import { createTheme, type MantineColorsTuple } from "@mantine/core";

// Ink is our one color; green, amber and red are kept for states.
const ink: MantineColorsTuple = [
  "#eef3fc",
  "#dce6f8",
  "#b9ccf0",
  "#8dabe6",
  "#668dda",
  "#446fc9",
  "#2f5ab5",
  "#284b98",
  "#213d7b",
  "#1a3060",
];

const gray: MantineColorsTuple = [
  "#f7f8fa",
  "#f0f2f5",
  "#e5e8ed",
  "#d6dbe2",
  "#b9c1cc",
  "#8b96a5",
  "#5c6776",
  "#444e5c",
  "#2f3743",
  "#1b2028",
];

const dark: MantineColorsTuple = [
  "#dde2ea",
  "#b8c0cc",
  "#97a1b0",
  "#6b7686",
  "#3c4552",
  "#2c333d",
  "#20262e",
  "#161a20",
  "#11151a",
  "#0c0f13",
];

// Dark enough from 5 on for white text, and for red text on white.
const red: MantineColorsTuple = [
  "#fdf1f0",
  "#fae0de",
  "#f5c0bb",
  "#f09d96",
  "#e2736a",
  "#cc3d34",
  "#b8342b",
  "#9c2c24",
  "#7f251e",
  "#651e18",
];

const sans =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif';

/** theme is read at build time as well: build/theme-css.ts makes its variables a stylesheet. */
export const theme = createTheme({
  primaryColor: "ink",
  primaryShade: { light: 6, dark: 5 },
  colors: { ink, gray, dark, red },
  black: "#1b2028",
  fontFamily: sans,
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  headings: {
    fontFamily: sans,
    fontWeight: "600",
    sizes: {
      h1: { fontSize: "1.375rem", lineHeight: "1.3" },
      h2: { fontSize: "1.0625rem", lineHeight: "1.4" },
      h3: { fontSize: "0.9375rem", lineHeight: "1.4" },
    },
  },
  defaultRadius: "md",
  radius: { xs: "3px", sm: "4px", md: "6px", lg: "10px", xl: "16px" },
  cursorType: "pointer",
  respectReducedMotion: true,
  // Scroll locks and size-dependent props would add style elements, which our policy refuses.
  components: {
    Modal: {
      defaultProps: {
        lockScroll: false,
        centered: true,
        overlayProps: { backgroundOpacity: 0.4 },
        transitionProps: { duration: 120 },
      },
    },
    Drawer: { defaultProps: { lockScroll: false } },
    Button: { defaultProps: { size: "sm" } },
    Tooltip: {
      defaultProps: { withArrow: true, openDelay: 200, events: { hover: true, focus: true, touch: true } },
    },
    Table: { defaultProps: { verticalSpacing: "xs" } },
    TextInput: { defaultProps: { size: "sm" } },
    Menu: {
      // The placeholder is no child that a menu may have; without it the first item gets the focus.
      defaultProps: { shadow: "md", transitionProps: { duration: 80 }, withInitialFocusPlaceholder: false },
    },
  },
});

/** schemeKey is where the browser keeps the choice of light or dark; scheme.js reads it, too. */
export const schemeKey = "claviger.scheme";
