import "@/strings/late/policies";
import type { TFunction } from "i18next";
import { Strategy } from "@/gen/claviger/keys/v1/policy_pb";
import type { Named } from "@/shared/Several";
import type { Condition, Line, Rule } from "./rule";
import type { Choices } from "./useChoices";

/** strategies are the orders in which a group's lines are tried, as the catalogue names them. */
export const strategies = [
  { value: Strategy.FALLBACK, key: "fallback" },
  { value: Strategy.WEIGHTED, key: "weighted" },
  { value: Strategy.LOWEST_LATENCY, key: "latency" },
  { value: Strategy.LOWEST_COST, key: "cost" },
  { value: Strategy.STICKY, key: "sticky" },
] as const;

/** strategyKey is a strategy's name in the catalogue; one that is not known tries in order. */
export function strategyKey(strategy: Strategy): (typeof strategies)[number]["key"] {
  return strategies.find(({ value }) => value === strategy)?.key ?? "fallback";
}

/** errorClasses are those after which another line may be tried: the contract's list. */
export const errorClasses = [
  "rate_limited",
  "overloaded",
  "server_error",
  "timeout",
  "network",
  "quota_exhausted",
  "auth_invalid",
  "auth_limited",
  "model_not_found",
  "unsupported_by_model",
  "credential_error",
  "content_refused",
  "too_large",
] as const;

/** detailWords says in short what is set in a line's details. */
export function detailWords(t: TFunction, { details, weight }: Line, withWeight: boolean): string[] {
  const words: string[] = [];
  if (withWeight && weight !== "") words.push(t("policies.details.words.weight", { value: weight }));
  for (const field of ["firstByte", "betweenChunks", "total"] as const) {
    if (details[field] !== "") words.push(t(`policies.details.words.${field}`, { value: details[field] }));
  }
  if (details.retries !== "")
    words.push(t("policies.details.words.retries", { count: Number(details.retries) }));
  if (details.backoff !== "") words.push(t("policies.details.words.backoff", { value: details.backoff }));
  if (details.moveOn.length > 0) {
    const names = details.moveOn.map((name) => {
      const known = errorClasses.find((each) => each === name);
      return known ? t(`policies.errorClasses.${known}`).toLocaleLowerCase() : name;
    });
    words.push(t("policies.details.words.moveOn", { value: names.join(", ") }));
  }
  for (const field of ["temperature", "topP", "maxOutput", "effort"] as const) {
    if (details[field] !== "") words.push(t(`policies.details.words.${field}`, { value: details[field] }));
  }
  return words;
}

/** conditionWords says for which requests a group is there. */
export function conditionWords(
  t: TFunction,
  when: Condition,
  names: Pick<Choices, "apiKeys" | "groups">,
): string {
  const or = (list: readonly string[]) => list.join(t("policies.when.words.or"));
  const called = (ids: readonly string[], all: readonly Named[]) =>
    or(ids.map((id) => all.find((each) => each.id === id)?.name ?? id));
  const words: string[] = when.tags.map(({ name, values }) =>
    values.length > 0
      ? t("policies.when.words.tag", { name, values: or(values) })
      : t("policies.when.words.tagSet", { name }),
  );
  if (when.models.length > 0) words.push(t("policies.when.words.models", { value: or(when.models) }));
  if (when.minInput !== "") words.push(t("policies.when.words.min", { value: when.minInput }));
  if (when.maxInput !== "") words.push(t("policies.when.words.max", { value: when.maxInput }));
  if (when.apiKeyIds.length > 0) {
    words.push(t("policies.when.words.apiKeys", { value: called(when.apiKeyIds, names.apiKeys) }));
  }
  if (when.groupIds.length > 0) {
    words.push(t("policies.when.words.groups", { value: called(when.groupIds, names.groups) }));
  }
  if (words.length === 0) return t("policies.when.always");
  return t("policies.when.only", { what: words.join(t("policies.when.words.and")) });
}

/** advancedWords says what is set for the rule as a whole. */
export function advancedWords(t: TFunction, rule: Rule): string[] {
  const words: string[] = [];
  if (rule.maxAttempts !== "")
    words.push(t("policies.advanced.words.maxAttempts", { value: rule.maxAttempts }));
  if (rule.hedge) {
    const percent = rule.hedgePercent === "" ? 5 : rule.hedgePercent;
    words.push(
      rule.hedgeAfter === ""
        ? t("policies.advanced.words.hedgeUsual", { percent })
        : t("policies.advanced.words.hedge", { value: rule.hedgeAfter, percent }),
    );
  }
  return words;
}
