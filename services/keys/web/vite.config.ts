import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { made, publish } from "./build/publish.ts";
import { schemeScript } from "./build/scheme-script.ts";
import { themeCss } from "./build/theme-css.ts";

// What keys sends with the pages. `npm run preview` sends it too, so that a breach shows early.
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

// The suite that `make dev` starts; the pages call it on their own origin.
const suite = process.env["CLAVIGER_URL"] ?? "http://127.0.0.1:8080";
const proxy = { "^/claviger\\.": { target: suite, changeOrigin: true } };

export default defineConfig(({ isPreview }) => ({
  plugins: [react(), themeCss(), schemeScript(), publish()],
  resolve: { tsconfigPaths: true },
  css: { modules: { localsConvention: "camelCaseOnly" } },
  build: {
    outDir: isPreview ? "dist" : made,
    // light-dark() and nesting stay as they are: Baseline 2024.
    target: ["chrome123", "edge123", "firefox120", "safari17.5"],
    assetsInlineLimit: 0, // a data: script or style would be refused
    chunkSizeWarningLimit: 1000, // the bound is in scripts/size.mjs, and counts what it costs
    reportCompressedSize: false,
    // One script of all icons instead of one per icon that two pages share.
    rolldownOptions: {
      output: { codeSplitting: { groups: [{ name: "icons", test: /node_modules[\\/]@tabler/ }] } },
    },
    manifest: true,
  },
  server: { proxy },
  preview: { proxy, headers: { "Content-Security-Policy": policy } },
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/test/setup.ts"],
    css: false,
    testTimeout: 60_000,
    restoreMocks: true,
  },
}));
