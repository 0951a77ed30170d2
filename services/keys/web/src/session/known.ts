/** Known is an organization that somebody signed in to with this browser. */
export type Known = { slug: string; name: string };

const key = "claviger.organizations";
const most = 20;

/** Returns the organizations that this browser knows, the last used first. Slug and name only. */
export function knownOrganizations(): Known[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(key) ?? "[]");
    if (!Array.isArray(list)) return [];
    return list.filter(isKnown).slice(0, most);
  } catch {
    return []; // storage is switched off, or somebody else wrote there
  }
}

/** Remembers an organization as the last used one. */
export function remember({ slug, name }: Known): void {
  write([{ slug, name }, ...knownOrganizations().filter((known) => known.slug !== slug)]);
}

/** Forgets an organization. */
export function forget(slug: string): void {
  write(knownOrganizations().filter((known) => known.slug !== slug));
}

function write(list: Known[]): void {
  try {
    localStorage.setItem(key, JSON.stringify(list.slice(0, most)));
  } catch {
    // Without storage nothing is remembered, and all else works.
  }
}

function isKnown(value: unknown): value is Known {
  if (typeof value !== "object" || value === null) return false;
  const { slug, name } = value as Record<string, unknown>;
  return typeof slug === "string" && /^[a-z][a-z0-9-]{1,39}$/.test(slug) && typeof name === "string";
}
