import "@/strings/late/policies";
import { useBlocker } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Policy, PolicyService, Strategy } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient } from "@/session/context";
import { problemOf } from "@/shared/errors/problem";
import { problemWords } from "@/shared/errors/words";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { check, different, fromFields, type Problem, sentOf } from "./problems";
import { linesOf, newRule, type Rule, ruleOf, sameRule, specOf, specOfPolicy } from "./rule";
import { useCheck } from "./useCheck";

/** How a rule is saved: as the draft, as the draft that is then looked at and published, or at once. */
export type Saving = "draft" | "review" | "publish";

type Options = {
  policy: Policy | undefined;
  onSaved: (policy: Policy, how: Saving) => void;
};

/** usePolicyEditor keeps what is being written, what is wrong with it, and what somebody else has saved. */
export function usePolicyEditor({ policy, onSaved }: Options) {
  const { t } = useTranslation();
  const client = useClient(PolicyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [name, setName] = useState(policy?.name ?? "");
  const [nameError, setNameError] = useState("");
  // What the changes build on; a reading in the background does not move it.
  const [base, setBase] = useState(policy);
  const [rule, setRule] = useState<Rule>(() => (policy ? ruleOf(specOfPolicy(policy)) : newRule()));
  const [found, setFound] = useState<readonly Problem[]>([]);
  const checked = useCheck(name, rule);
  const [conflict, setConflict] = useState<{ theirs: Policy; how: Saving }>();
  const leaving = useRef(false);
  const changed = base
    ? !sameRule(rule, ruleOf(specOfPolicy(base)))
    : name !== "" || !sameRule(rule, newRule());
  // A click in the navigation must not lose an hour of thought.
  useBlocker({
    shouldBlockFn: () => changed && !leaving.current && !window.confirm(t("policies.edit.leave")),
    enableBeforeUnload: () => changed && !leaving.current,
  });

  const build = (on: Policy) => {
    setConflict(undefined);
    setFound([]);
    setBase(on);
    setRule(ruleOf(specOfPolicy(on)));
  };

  const save = useAction(async (how: Saving, etag: string | undefined) => {
    const sent = sentOf(rule);
    const spec = specOf(rule);
    const publish = how === "publish";
    try {
      const saved = await once(async (idempotencyKey) => {
        const answer =
          base && etag !== undefined
            ? await client.updatePolicy({ id: base.id, spec, publish, etag, idempotencyKey })
            : await client.createPolicy({ name: name.trim(), spec, publish, idempotencyKey });
        return answer.policy;
      });
      if (!saved) return;
      build(saved);
      leaving.current = true;
      onSaved(saved, how);
      await refresh(PolicyService);
      leaving.current = false;
    } catch (error) {
      const problem = problemOf(error);
      const { problems, rest } = fromFields(problem.fields, sent);
      setFound(problems);
      if (rest["name"]) setNameError(rest["name"]);
      if (problem.reason === "POLICY_EXISTS") setNameError(problemWords(t, problem).what);
      if (problem.reason === "ETAG_MISMATCH" && base) {
        const theirs = (await client.getPolicy({ id: base.id })).policy;
        if (theirs) setConflict({ theirs, how });
      }
      throw error;
    }
  });

  return {
    name,
    nameError,
    base,
    rule,
    setRule,
    problems: different(found, checked),
    /** Whether saving has failed for what is marked. */
    refused: found.length > 0,
    conflict,
    changed,
    save,
    setName(next: string) {
      setNameError("");
      setName(next);
    },
    mend(key: number) {
      setFound((before) => before.filter(({ line, group }) => line !== key && group !== key));
    },
    take(theirs: Policy) {
      save.clear();
      build(theirs);
    },
    /** Goes on from what was published, rolled back or discarded; what is not saved yet stays. */
    rebase(on: Policy) {
      setBase(on);
      if (!changed) setRule(ruleOf(specOfPolicy(on)));
    },
    submit(how: Saving) {
      const wrong = formProblems(rule, (key) => t(`policies.${key}`));
      const nameProblem = policy ? undefined : checkName(name.trim());
      setFound(wrong);
      setNameError(nameProblem ? t(`policies.edit.${nameProblem}`) : "");
      if (wrong.length > 0 || nameProblem) return false;
      void save.run(how, base?.etag);
      return true;
    },
  };
}

type FormWord =
  | "edit.modelMissing"
  | "edit.modelBad"
  | "edit.groupEmpty"
  | "edit.stickyTagMissing"
  | "when.tagMissing";

// What needs no server to be seen.
function formProblems(rule: Rule, say: (word: FormWord) => string): Problem[] {
  const problems: Problem[] = [];
  for (const line of linesOf(rule)) {
    const wrong = check(line.model);
    if (wrong) problems.push({ line: line.key, field: "model", what: say(`edit.${wrong}`), warning: false });
  }
  for (const { key: group, lines, strategy, stickyBy, stickyTag, when } of rule.groups) {
    const add = (field: string, word: FormWord) =>
      problems.push({ group, field, what: say(word), warning: false });
    if (lines.length === 0) add("targets", "edit.groupEmpty");
    if (strategy === Strategy.STICKY && stickyBy === "tag" && !stickyTag.trim()) {
      add("sticky_by", "edit.stickyTagMissing");
    }
    for (const [index, tag] of when.tags.entries()) {
      if (!tag.name.trim()) add(`when.tags[${index}].key`, "when.tagMissing");
    }
  }
  return problems;
}

// The server's own rule.
function checkName(name: string): "nameMissing" | "nameBad" | undefined {
  if (!name) return "nameMissing";
  return /^[a-z0-9][a-z0-9._-]{0,62}$/.test(name) ? undefined : "nameBad";
}
