import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

const source = new URL("../src/theme/scheme.js", import.meta.url);

/**
 * Puts a small script, by its hash, before everything else. It sets the color scheme before the first
 * paint; a module would run too late, and an inline script is refused by our content security policy.
 */
export function schemeScript(): Plugin {
  let reference = "";
  return {
    name: "scheme-script",
    buildStart() {
      if (this.meta.watchMode || this.environment?.mode === "dev") return;
      reference = this.emitFile({ type: "asset", name: "scheme.js", source: readFileSync(source, "utf8") });
    },
    transformIndexHtml: {
      order: "post",
      handler(_html, context) {
        let src = "/src/theme/scheme.js";
        for (const file of Object.values(context.bundle ?? {})) {
          if (file.type === "asset" && file.names.includes("scheme.js")) src = `/${file.fileName}`;
        }
        if (context.bundle && !reference) throw new Error("the color scheme script is not in the bundle");
        return [{ tag: "script", attrs: { src }, injectTo: "head-prepend" }];
      },
    },
  };
}
