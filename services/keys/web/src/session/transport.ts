import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { type Sessions, SignedOutError } from "./sessions";

/**
 * Puts the organization's access token on each call, and tries a call once more with a new token when
 * the server refuses the old one.
 */
export function authorize(sessions: Sessions, slug: string): Interceptor {
  return (next) => async (request) => {
    const token = await tokenOr(() => sessions.token(slug));
    request.header.set("Authorization", `Bearer ${token}`);
    try {
      return await next(request);
    } catch (error) {
      // The message of a client stream is gone by now; browsers have none.
      if (ConnectError.from(error).code !== Code.Unauthenticated) throw error;
      const other = await tokenOr(() => sessions.tokenInsteadOf(slug, token));
      request.header.set("Authorization", `Bearer ${other}`);
      return await next(request);
    }
  };
}

// Connect passes its own errors through and wraps all others.
async function tokenOr(get: () => Promise<string>): Promise<string> {
  try {
    return await get();
  } catch (error) {
    if (error instanceof SignedOutError) {
      throw new ConnectError("you are signed out", Code.Unauthenticated, undefined, undefined, error);
    }
    throw error;
  }
}
