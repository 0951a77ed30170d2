// What the forms of credentials have in common, free of React: reading JSON that was pasted, checking
// fields as far as a page can, and writing the text that is sent. The server checks everything again.

/** Fields are the texts of a form by the names that they have in the JSON. */
export type Fields = Record<string, string>;

/** Draft is what of a credential is no secret, to begin a form with: one line, or Azure's lines. */
export type Draft = Fields[];

/** Mistake is the name of what is wrong, in the catalogue. */
export type Mistake =
  | "missing"
  | "https"
  | "region"
  | "location"
  | "notText"
  | "unknown"
  | "twice"
  | "notJson"
  | "notObject"
  | "notList"
  | "empty"
  | "tooMany"
  | "serviceAccount"
  | "pem";

/** Mistakes are what is wrong, by field: "region", "[1].endpoint_url", "" for the whole. */
export type Mistakes = Record<string, Mistake>;

/** Read is JSON that was pasted, taken apart. */
export type Read = { lines: Fields[]; mistakes: Mistakes };

export const azureFields = ["model_slug", "endpoint_url", "api_key", "model_id"];
export const awsFields = ["accessKeyId", "secretAccessKey", "region", "sessionToken", "apiKey"];
const accountFields = [
  "type",
  "project_id",
  "private_key_id",
  "private_key",
  "client_email",
  "client_id",
  "auth_uri",
  "token_uri",
  "auth_provider_x509_cert_url",
  "client_x509_cert_url",
  "universe_domain",
  "location",
  "project",
  "api_key",
];

const most = 64;

/** readJson takes pasted JSON apart. A list is Azure's. */
export function readJson(text: string, form: "azure" | "aws" | "google"): Read {
  let value: unknown;
  try {
    value = JSON.parse(text.trim());
    if (typeof value === "string") value = JSON.parse(value);
  } catch {
    return { lines: [], mistakes: { "": "notJson" } };
  }
  if (form === "azure") {
    if (!Array.isArray(value)) return { lines: [], mistakes: { "": "notList" } };
    if (value.length === 0) return { lines: [], mistakes: { "": "empty" } };
    if (value.length > most) return { lines: [], mistakes: { "": "tooMany" } };
    const mistakes: Mistakes = {};
    const lines = value.map((item, i) => readObject(item, azureFields, `[${i}]`, mistakes));
    return { lines, mistakes };
  }
  const mistakes: Mistakes = {};
  const known = form === "aws" ? awsFields : accountFields;
  return { lines: [readObject(value, known, "", mistakes)], mistakes };
}

function readObject(value: unknown, known: string[], at: string, mistakes: Mistakes): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    mistakes[at] = "notObject";
    return {};
  }
  const fields: Fields = {};
  for (const [name, text] of Object.entries(value)) {
    const field = named(at, name);
    if (!known.includes(name)) mistakes[field] = "unknown";
    else if (typeof text !== "string") mistakes[field] = "notText";
    else fields[name] = text.trim();
  }
  return fields;
}

function named(at: string, field: string): string {
  return at ? `${at}.${field}` : field;
}

function required(fields: Fields, names: string[], at = ""): Mistakes {
  const mistakes: Mistakes = {};
  for (const name of names) if (!fields[name]) mistakes[named(at, name)] = "missing";
  return mistakes;
}

const regions = /^[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$/;
const locations = /^[a-z]{2,20}(-[a-z0-9]{1,20}){0,3}$/;

/** checkAws finds what is wrong with Bedrock's fields. */
export function checkAws(fields: Fields): Mistakes {
  const mistakes = required(
    fields,
    fields.apiKey === undefined ? ["accessKeyId", "secretAccessKey", "region"] : ["apiKey", "region"],
  );
  if (fields.region && !regions.test(fields.region)) mistakes.region = "region";
  return mistakes;
}

/** checkAzure finds what is wrong with Azure's lines. */
export function checkAzure(lines: Fields[]): Mistakes {
  const mistakes: Mistakes = lines.length === 0 ? { "": "empty" } : {};
  const seen = new Set<string>();
  lines.forEach((line, i) => {
    const at = `[${i}]`;
    Object.assign(mistakes, required(line, azureFields, at));
    const url = line.endpoint_url ?? "";
    // Plain http is for an address that the operator has opened; the server knows which.
    if (url && !/^https:\/\//i.test(url) && !/^http:\/\/[[\d]/i.test(url))
      mistakes[`${at}.endpoint_url`] = "https";
    const same = JSON.stringify([line.model_slug, url, line.model_id]);
    if (url && seen.has(same)) mistakes[at] = "twice";
    seen.add(same);
  });
  return mistakes;
}

/** checkAccount finds what is wrong with a service account's file. */
export function checkAccount(fields: Fields): Mistakes {
  const mistakes = required(fields, ["type", "project_id", "client_email", "private_key"]);
  if (fields.type && fields.type !== "service_account") mistakes.type = "serviceAccount";
  if (fields.private_key && !/^-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+-----END/.test(fields.private_key)) {
    mistakes.private_key = "pem";
  }
  return mistakes;
}

/** checkLocation finds what is wrong with a location. */
export function checkLocation(location: string): Mistakes {
  return location && !locations.test(location) ? { location: "location" } : {};
}

/** filled leaves out what is empty. */
export function filled(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, text]) => text !== ""));
}

/** fieldsOf reads those inputs of a form that are there, by their names: it has others, too. */
export function fieldsOf(form: HTMLFormElement, names: readonly string[]): Fields {
  const fields: Fields = {};
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && names.includes(name)) fields[name] = value.trim();
  }
  return fields;
}

/** fillIn writes texts into the inputs of a form by their names. */
export function fillIn(form: HTMLFormElement, fields: Fields): void {
  for (const [name, text] of Object.entries(fields)) {
    const input = form.elements.namedItem(name);
    if (input instanceof HTMLInputElement) input.value = text;
  }
}

/** emptySecrets empties every secret input below an element. */
export function emptySecrets(inside: Element | null): void {
  for (const input of inside?.querySelectorAll<HTMLInputElement>("input[data-secret]") ?? [])
    input.value = "";
}

/** endOf is what may be shown of a secret. */
export function endOf(secret: string): string {
  return secret.length < 16 ? "…" : `…${secret.slice(-4)}`;
}
