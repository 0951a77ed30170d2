// Tells of every test as a line of JSON, for the Go test that runs them.
import path from "node:path";

export default async function* reporter(events) {
  const names = new Map(); // of the suites around a test, by file
  for await (const { type, data } of events) {
    if (!data?.file) continue;
    const file = path.basename(data.file);
    if (type === "test:start") {
      const open = names.get(file) ?? [];
      open.length = data.nesting;
      open[data.nesting] = data.name;
      names.set(file, open);
    }
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.skip === "test name does not match pattern") continue;
    const name = [...(names.get(file) ?? []).slice(0, data.nesting), data.name];
    const suite = data.details?.type === "suite";
    const error = type === "test:fail" ? describe(data.details.error) : "";
    // A suite fails because of a test in it, which is told of by itself; a file because of an import.
    if (suite && (!error || /subtests? failed/.test(error))) continue;
    yield `${JSON.stringify({ type: suite ? "suite" : "leaf", file, name, error, duration: data.details.duration_ms, skipped: Boolean(data.skip || data.todo) })}\n`;
  }
}

function describe(error) {
  const cause = error?.cause ?? error;
  return String(cause?.stack ?? cause?.message ?? cause);
}
