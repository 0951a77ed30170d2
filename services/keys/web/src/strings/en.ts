import { account } from "./en/account";
import { common, confirm, errors, shell } from "./en/common";
import { credentials } from "./en/credentials";
import { members } from "./en/members";
import { overview } from "./en/overview";
import { requests } from "./en/requests";
import { usage } from "./en/usage";

/**
 * en is the catalogue: every word that a person reads is here, one file per feature. Another language
 * is another object of this type. What few pages say comes along with them, from late/.
 */
export const en = {
  common,
  confirm,
  errors,
  shell,
  account,
  overview,
  credentials,
  usage,
  requests,
  members,
} as const;
