import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

/** Where a build is made, below the root: each process has its own place. */
export const made = `node_modules/.built-${process.pid}`;

/**
 * Puts a finished build into dist in one step. Go embeds dist, and a compiler that reads it while Vite
 * empties and fills it would fail, or embed half of the pages.
 */
export function publish(): Plugin {
  let root = "";
  return {
    name: "publish",
    apply: "build",
    configResolved: (config) => {
      root = config.root;
    },
    writeBundle: {
      order: "post",
      sequential: true,
      handler: () => {
        const [from, dist] = [join(root, made), join(root, "dist")];
        const old = `${from}-old`;
        if (existsSync(dist)) renameSync(dist, old);
        renameSync(from, dist);
        rmSync(old, { recursive: true, force: true });
      },
    },
  };
}
