import type { Credential } from "@/gen/claviger/keys/v1/credential_pb";

/** inOrder sorts credentials as routers try them: by provider, then by priority, then by age. */
export function inOrder(credentials: readonly Credential[]): Credential[] {
  return [...credentials].sort(
    (a, b) =>
      a.provider.localeCompare(b.provider) ||
      a.priority - b.priority ||
      (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  );
}

/** Renumbering is a credential that gets another priority. */
export type Renumbering = { credential: Credential; priority: number };

/**
 * moved says which priorities have to change for a credential to be tried one place earlier (-1) or
 * later (1) among those of its provider. As few as possible; none if it stands at the end already.
 */
export function moved(all: readonly Credential[], id: string, by: -1 | 1): Renumbering[] {
  const self = all.find((credential) => credential.id === id);
  if (!self) return [];
  const row = inOrder(all.filter(({ provider }) => provider === self.provider));
  const from = row.indexOf(self);
  const to = from + by;
  const other = row[to];
  if (!other) return [];
  if (other.priority !== self.priority) {
    return [
      { credential: self, priority: other.priority },
      { credential: other, priority: self.priority },
    ];
  }
  // Equal numbers leave no room between them: number all of them anew.
  row[from] = other;
  row[to] = self;
  return row
    .map((credential, place) => ({ credential, priority: Math.min(place + 1, 1000) }))
    .filter(({ credential, priority }) => credential.priority !== priority);
}
