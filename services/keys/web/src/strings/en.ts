import { account } from "./en/account";
import { apiKeys } from "./en/apikeys";
import { common, confirm, errors, shell } from "./en/common";
import { credentials } from "./en/credentials";
import { firstKey } from "./en/firstkey";
import { members } from "./en/members";
import { overview } from "./en/overview";
import { policies } from "./en/policies";
import { requests } from "./en/requests";
import { secret } from "./en/secret";
import { usage } from "./en/usage";

/**
 * en is the catalogue: every word that a person reads is here, one file per feature. Another language
 * is another object of this type.
 */
export const en = {
  common,
  confirm,
  errors,
  shell,
  account,
  overview,
  firstKey,
  credentials,
  secret,
  policies,
  apiKeys,
  usage,
  requests,
  members,
} as const;
