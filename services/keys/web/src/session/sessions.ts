import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { Member } from "@/gen/claviger/keys/v1/member_pb";
import type { Organization } from "@/gen/claviger/keys/v1/organization_pb";
import type { SessionService } from "@/gen/claviger/keys/v1/session_pb";

/** Signed says who is signed in where. It holds no secret. */
export type Signed = { member: Member; organization: Organization };

/** Why nobody is signed in any more; "unsure" if the server could not be told. */
export type Ending = "signed-out" | "expired" | "unsure";

/** SignedOutError says that an organization's session is over. */
export class SignedOutError extends Error {
  override name = "SignedOutError";
  readonly slug: string;
  constructor(slug: string) {
    super(`nobody is signed in to ${slug}`);
    this.slug = slug;
  }
}

type Entry = { token: string; expires: number; signed: Signed };

/** An access token is renewed this long before it dies, so that no call is made with a dying one. */
export const renewAhead = 30_000;

// What the server says in an access token's life when it does not tell.
const defaultLife = 5 * 60_000;

/**
 * Sessions keeps the access token of each organization in memory, and nowhere else. What outlives the
 * page is the server's cookie, which scripts cannot read; RefreshSession turns it into a new token.
 */
export class Sessions {
  readonly #client: Client<typeof SessionService>;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #renewals = new Map<string, Promise<Entry>>();
  readonly #listeners = new Set<(slug: string, ending?: Ending) => void>();
  // Counts the ends of an organization's sessions, so that a late renewal does not bring one back.
  readonly #epochs = new Map<string, number>();

  constructor(client: Client<typeof SessionService>, now: () => number = Date.now) {
    this.#client = client;
    this.#now = now;
  }

  /** Returns who is signed in to an organization, as far as this page knows. */
  signed(slug: string): Signed | undefined {
    return this.#entries.get(slug)?.signed;
  }

  /** Calls listener whenever somebody signs in or is signed out. Returns how to stop it. */
  subscribe(listener: (slug: string, ending?: Ending) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins a session. The server keeps it in a cookie. */
  async signIn(organization: string, email: string, password: string): Promise<Signed> {
    const answer = await this.#client.signIn({ organization, email, password, cookie: true });
    const entry = this.#entryOf(answer);
    this.#entries.set(entry.signed.organization.slug, entry);
    this.#tell(entry.signed.organization.slug);
    return entry.signed;
  }

  /** Returns who is signed in, asking the server's cookie if this page does not know yet. */
  async ensure(slug: string): Promise<Signed> {
    return (await this.#live(slug)).signed;
  }

  /** Returns a live access token, renewing it when it is about to die. */
  async token(slug: string): Promise<string> {
    return (await this.#live(slug)).token;
  }

  /** Returns another access token than the refused one. */
  async tokenInsteadOf(slug: string, refused: string): Promise<string> {
    const entry = this.#entries.get(slug);
    if (entry && entry.token !== refused) return this.token(slug); // somebody else renewed it meanwhile
    return (await this.#renew(slug)).token;
  }

  /** Ends the session, here and at the server. It is over here even if the server cannot be told. */
  async signOut(slug: string): Promise<void> {
    let ending: Ending = "signed-out";
    try {
      const token = await this.token(slug);
      await this.#client.signOut({}, { headers: { Authorization: `Bearer ${token}` } });
    } catch (error) {
      if (!(error instanceof SignedOutError) && !endsSession(error)) ending = "unsure";
    }
    this.drop(slug, ending);
  }

  /** Forgets an organization's session in this page only. */
  drop(slug: string, ending: Ending): void {
    this.#epochs.set(slug, (this.#epochs.get(slug) ?? 0) + 1);
    this.#entries.delete(slug);
    this.#renewals.delete(slug);
    this.#tell(slug, ending);
  }

  async #live(slug: string): Promise<Entry> {
    const entry = this.#entries.get(slug);
    if (entry && entry.expires - this.#now() > renewAhead) return entry;
    return this.#renew(slug);
  }

  // One renewal at a time per organization: everybody who waits gets the same answer.
  #renew(slug: string): Promise<Entry> {
    const running = this.#renewals.get(slug);
    if (running) return running;
    const epoch = this.#epochs.get(slug);
    const renewal = this.#client
      .refreshSession({ organization: slug })
      .then(
        (answer) => {
          if (this.#epochs.get(slug) !== epoch) throw new SignedOutError(slug);
          const entry = this.#entryOf(answer);
          this.#entries.set(slug, entry);
          this.#tell(slug);
          return entry;
        },
        (error: unknown) => {
          if (!endsSession(error)) throw error; // the server is away; the session may still live
          if (this.#epochs.get(slug) === epoch) this.drop(slug, "expired");
          throw new SignedOutError(slug);
        },
      )
      .finally(() => {
        if (this.#renewals.get(slug) === renewal) this.#renewals.delete(slug);
      });
    this.#renewals.set(slug, renewal);
    return renewal;
  }

  #entryOf(answer: {
    accessToken: string;
    accessExpireTime?: Parameters<typeof timestampMs>[0] | undefined;
    member?: Member | undefined;
    organization?: Organization | undefined;
  }): Entry {
    if (!answer.member || !answer.organization) {
      throw new ConnectError("the server did not say who is signed in", Code.Internal);
    }
    return {
      token: answer.accessToken,
      expires: answer.accessExpireTime ? timestampMs(answer.accessExpireTime) : this.#now() + defaultLife,
      signed: { member: answer.member, organization: answer.organization },
    };
  }

  #tell(slug: string, ending?: Ending): void {
    for (const listener of this.#listeners) listener(slug, ending);
  }
}

function endsSession(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  return code === Code.Unauthenticated || code === Code.PermissionDenied || code === Code.NotFound;
}
