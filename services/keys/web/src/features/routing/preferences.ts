import { create, equals } from "@bufbuild/protobuf";
import {
  PlatformRule,
  type RoutingPreferences,
  RoutingPreferencesSchema,
} from "@/gen/claviger/keys/v1/routing_pb";

/** Preferences are what is edited of the organization's preferences. */
export type Preferences = {
  order: string[];
  ignore: string[];
  /** The rules of single providers, as they stand. */
  rules: { provider: string; rule: PlatformRule }[];
  /** The rule of all others. */
  platform: PlatformRule;
  policyId: string;
  enforce: boolean;
  /** The group of API keys that members create, "" for none. */
  memberGroupId: string;
};

/** platformRules are in the order in which they are offered, as the catalogue names them. */
export const platformRules = [
  { value: PlatformRule.POLICIES, key: "policies" },
  { value: PlatformRule.NEVER, key: "never" },
  { value: PlatformRule.AFTER_OWN, key: "after" },
  { value: PlatformRule.BEFORE_OWN, key: "before" },
] as const;

/** preferencesOf makes of what the server has what is edited. */
export function preferencesOf(from: RoutingPreferences | undefined): Preferences {
  return {
    order: [...(from?.order ?? [])],
    ignore: [...(from?.ignore ?? [])],
    rules: (from?.providers ?? []).map(({ provider, platform }) => ({
      provider,
      // Where a provider is named, the contract's zero is never.
      rule: platform || PlatformRule.NEVER,
    })),
    platform: from?.platform || PlatformRule.POLICIES,
    policyId: from?.policyId ?? "",
    enforce: from?.enforcePolicy ?? false,
    memberGroupId: from?.memberGroupId ?? "",
  };
}

/** messageOf makes of what was edited what is sent. */
export function messageOf(from: Preferences): RoutingPreferences {
  return create(RoutingPreferencesSchema, {
    order: from.order,
    ignore: from.ignore,
    providers: from.rules.map(({ provider, rule }) => ({ provider, platform: rule })),
    platform: from.platform,
    policyId: from.policyId,
    enforcePolicy: from.enforce && from.policyId !== "",
    memberGroupId: from.memberGroupId,
  });
}

/** samePreferences says whether the same would be stored. */
export function samePreferences(a: Preferences, b: Preferences): boolean {
  return equals(RoutingPreferencesSchema, messageOf(a), messageOf(b));
}

/** moved moves an entry of a list by one place. */
export function moved<T>(list: readonly T[], from: number, by: -1 | 1): T[] {
  const result = [...list];
  const [item] = result.splice(from, 1);
  if (item !== undefined) result.splice(Math.max(0, from + by), 0, item);
  return result;
}
