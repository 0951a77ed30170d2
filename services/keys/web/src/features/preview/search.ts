/** operations are what a request can ask for. */
export const operations = ["chat", "embeddings", "images", "count_tokens", "videos"] as const;

/** Operation is one of them. */
export type Operation = (typeof operations)[number];

/** PreviewSearch is what the address of the page says: the request that is asked about. Nothing in it is secret. */
export type PreviewSearch = {
  /** The id of the API key that would call. Without it nothing is asked. */
  key?: string;
  model?: string;
  /** Default chat. */
  operation?: Operation;
  /** Tokens. */
  input?: number;
  output?: number;
  /** Each key=value. */
  tags?: string[];
  session?: string;
};

const mostTokens = { input: 100_000_000, output: 10_000_000 };

/** previewSearch reads it; what it does not understand it leaves out. */
export function previewSearch(search: Record<string, unknown>): PreviewSearch {
  const result: PreviewSearch = {};
  const key = text(search["key"], 64);
  if (key) result.key = key;
  const model = text(search["model"], 256);
  if (model) result.model = model;
  const operation = operations.find((each) => each === search["operation"]);
  if (operation && operation !== "chat") result.operation = operation;
  const input = count(search["input"], mostTokens.input);
  if (input) result.input = input;
  const output = count(search["output"], mostTokens.output);
  if (output) result.output = output;
  const tags = Array.isArray(search["tags"]) ? search["tags"].filter(isTag).slice(0, 16) : [];
  if (tags.length > 0) result.tags = tags;
  const session = text(search["session"], 256);
  if (session) result.session = session;
  return result;
}

/** isTag reports whether something is key=value, as the server takes it. */
export function isTag(tag: unknown): tag is string {
  if (typeof tag !== "string") return false;
  const { key, value } = tagOf(tag);
  return tag.includes("=") && key !== "" && bytes(key) <= 64 && bytes(value) <= 256;
}

/** tagOf takes key=value apart. The value may have further signs. */
export function tagOf(tag: string): { key: string; value: string } {
  const at = tag.indexOf("=");
  return { key: tag.slice(0, at).trim(), value: tag.slice(at + 1).trim() };
}

function bytes(value: string): number {
  return new TextEncoder().encode(value).length;
}

function text(value: unknown, most: number): string | undefined {
  return typeof value === "string" && value.length <= most ? value : undefined;
}

function count(value: unknown, most: number): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= most
    ? value
    : undefined;
}
