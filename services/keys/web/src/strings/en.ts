import { account } from "./en/account";
import { common, confirm, errors, shell } from "./en/common";
import { overview } from "./en/overview";
import { requests } from "./en/requests";

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
  requests,
} as const;
