// Fails when a page needs more compressed script than it may: `node scripts/size.mjs`, after a build.
// It follows Vite's manifest, so that it counts what the browser fetches before it can draw the page.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const kib = 1024;
const dist = new URL("../dist/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));

// The modules that a page loads besides the entry, and its bound.
const pages = [
  { name: "sign in", modules: ["src/features/session/SignInPage.tsx"], bound: 220 * kib },
  {
    name: "overview",
    modules: ["src/app/Shell.tsx", "src/features/overview/OverviewPage.tsx"],
    bound: 300 * kib,
  },
  {
    name: "first key",
    modules: ["src/app/Shell.tsx", "src/features/firstkey/FirstKeyPage.tsx"],
    bound: 300 * kib,
  },
  {
    name: "credentials",
    modules: ["src/app/Shell.tsx", "src/features/credentials/CredentialsPage.tsx"],
    bound: 300 * kib,
  },
  // The chart follows when it is needed, and a page that is drawn is not kept waiting for it.
  { name: "usage", modules: ["src/app/Shell.tsx", "src/features/usage/UsagePage.tsx"], bound: 300 * kib },
  {
    name: "requests",
    modules: ["src/app/Shell.tsx", "src/features/requests/RequestsPage.tsx"],
    bound: 300 * kib,
  },
  // The editor of policies has inputs that no other page needs.
  {
    name: "policy",
    modules: ["src/app/Shell.tsx", "src/features/policies/PolicyPage.tsx"],
    bound: 350 * kib,
  },
  {
    name: "credential",
    modules: ["src/app/Shell.tsx", "src/features/credentials/CredentialPage.tsx"],
    bound: 320 * kib,
  },
  {
    name: "routing",
    modules: ["src/app/Shell.tsx", "src/features/routing/RoutingPage.tsx"],
    bound: 320 * kib,
  },
];

function files(keys) {
  const seen = new Set();
  const visit = (key) => {
    const chunk = manifest[key];
    if (!chunk) throw new Error(`${key} is not a chunk of its own: does the router load it lazily?`);
    if (seen.has(chunk.file)) return;
    seen.add(chunk.file);
    for (const next of chunk.imports ?? []) visit(next);
  };
  for (const key of keys) visit(key);
  return [...seen].filter((file) => file.endsWith(".js"));
}

let failed = false;
for (const { name, modules, bound } of pages) {
  const scripts = files(["index.html", ...modules]);
  const size = scripts.reduce(
    (sum, file) => sum + gzipSync(readFileSync(new URL(file, dist)), { level: 6 }).length,
    0,
  );
  const over = size > bound;
  failed ||= over;
  process.stdout.write(
    `${over ? "TOO BIG " : ""}${name}: ${(size / kib).toFixed(1)} KiB gzip in ${scripts.length} scripts, at most ${bound / kib}\n`,
  );
}
process.exitCode = failed ? 1 : 0;
