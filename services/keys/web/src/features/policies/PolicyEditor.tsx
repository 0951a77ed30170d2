import "@/strings/late/policies";
import { Button, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { type Policy, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient } from "@/session/context";
import { ClassTag } from "@/shared/ClassTag";
import { ConfirmDialog } from "@/shared/ConfirmDialog";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done } from "@/shared/errors/toast";
import { Status } from "@/shared/Status";
import { useIdempotencyKey } from "@/shared/useAction";
import { useNames } from "@/shared/useNames";
import { useRefresh } from "@/shared/useRefresh";
import classes from "./PolicyPage.module.css";
import { PublishDialog } from "./PublishDialog";
import { RuleEditor } from "./RuleEditor";
import { RuleView } from "./RuleView";
import { linesOf, specOfPolicy } from "./rule";
import { useChoices } from "./useChoices";
import { type Saving, usePolicyEditor } from "./usePolicyEditor";

type Props = {
  policy?: Policy;
  onSaved: (policy: Policy, how: Saving) => void;
  /** Another version that serves meanwhile, such as after a roll-back: changes build on it. */
  latest?: Policy | undefined;
};

/** PolicyEditor creates a policy or changes the rule of one. */
export function PolicyEditor({ policy, onSaved, latest }: Props) {
  const { t } = useTranslation();
  const choices = useChoices(policy?.name);
  const [reviewed, setReviewed] = useState<Policy>();
  const [discarding, setDiscarding] = useState(false);
  const editor = usePolicyEditor({
    policy,
    onSaved: (saved, how) => {
      if (how === "review") setReviewed(saved);
      onSaved(saved, how);
    },
  });
  const { rule, problems, conflict, save, base } = editor;
  const form = useRef<HTMLFormElement>(null);
  useFocusOnWrong(form, editor.refused);
  const { rebase } = editor;
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each
  useEffect(() => {
    if (latest) rebase(latest);
  }, [latest]);
  const numbers = new Map(linesOf(rule).map(({ key }, index) => [key, index + 1]));
  const warnings = problems
    .filter(({ warning }) => warning)
    .map(({ line, what }) =>
      line === undefined ? what : t("policies.edit.problem", { line: numbers.get(line) ?? 0, what }),
    );
  const errors = problems.filter(({ warning }) => !warning);
  // What belongs to no line, group or field is said above the buttons.
  const loose = errors.filter(
    ({ line, group, field }) =>
      line === undefined && group === undefined && !/^(max_attempts|hedge)/.test(field),
  );
  const review = () => {
    if (base?.draft && !editor.changed) setReviewed(base);
    else editor.submit("review");
  };

  return (
    <>
      <form
        ref={form}
        className={classes.form}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (policy) review();
          else editor.submit("publish");
        }}
      >
        {base?.draft && (
          <div className={classes.draft} role="note">
            <span className={classes.badge}>{t("policies.draft")}</span>{" "}
            {base.version > 0n
              ? t("policies.edit.isDraft", { version: String(base.version) })
              : t("policies.edit.onlyDraft")}
          </div>
        )}
        {!policy && (
          <TextInput
            label={t("policies.edit.name")}
            description={t("policies.edit.nameHint")}
            value={editor.name}
            error={editor.nameError}
            onChange={(event) => editor.setName(event.currentTarget.value)}
            maw="24rem"
            maxLength={63}
            spellCheck={false}
            autoComplete="off"
            classNames={{ input: "mono" }}
          />
        )}
        <p className={classes.hint}>{t("policies.edit.groupsHint")}</p>
        <RuleEditor
          rule={rule}
          onChange={editor.setRule}
          problems={problems}
          onMend={editor.mend}
          choices={choices}
        />
        <dl className={classes.who}>
          <div>
            <dt>
              <ClassTag of={CredentialClass.OWN} />
            </dt>
            <dd>{t("policies.edit.ownWords")}</dd>
          </div>
          <div>
            <dt>
              <ClassTag of={CredentialClass.PLATFORM} />
            </dt>
            <dd>{t("policies.edit.platformWords")}</dd>
          </div>
        </dl>
        {conflict && (
          <Conflict
            theirs={conflict.theirs}
            busy={save.busy}
            onTake={() => editor.take(conflict.theirs)}
            onOverwrite={() => void save.run(conflict.how, conflict.theirs.etag)}
          />
        )}
        {loose.map(({ what }) => (
          <p key={what} className={classes.lineErrors}>
            {what}
          </p>
        ))}
        {editor.refused && (
          <p role="alert" className={classes.lineErrors}>
            {t("policies.edit.lineErrors")}
          </p>
        )}
        {save.error !== null && !conflict && !editor.refused && !editor.nameError && (
          <ProblemPanel title={t("policies.edit.failed")} error={save.error} />
        )}
        <div className={classes.foot}>
          {policy ? (
            <>
              <Button type="submit" loading={save.busy} disabled={!editor.changed && !base?.draft}>
                {t("policies.edit.publish")}
              </Button>
              <Button
                variant="default"
                disabled={!editor.changed}
                loading={save.busy}
                onClick={() => editor.submit("draft")}
              >
                {t("policies.edit.saveDraft")}
              </Button>
              {base?.draft && base.version > 0n && (
                <Button variant="subtle" color="gray" onClick={() => setDiscarding(true)}>
                  {t("policies.edit.discard")}
                </Button>
              )}
            </>
          ) : (
            <>
              <Button type="submit" loading={save.busy}>
                {t("policies.edit.create")}
              </Button>
              <Button variant="default" loading={save.busy} onClick={() => editor.submit("draft")}>
                {t("policies.edit.saveDraft")}
              </Button>
            </>
          )}
          <div role="status" className={classes.counts}>
            {errors.length > 0 && (
              <Status tone="bad">{t("policies.edit.problems", { count: errors.length })}</Status>
            )}
            {errors.length === 0 && warnings.length > 0 && (
              <Status tone="warn">{t("policies.edit.warnings", { count: warnings.length })}</Status>
            )}
          </div>
        </div>
      </form>
      {reviewed && (
        <PublishDialog
          policy={reviewed}
          warnings={warnings}
          onClose={() => setReviewed(undefined)}
          onPublished={editor.rebase}
        />
      )}
      {base?.draft && (
        <Discard
          policy={base}
          opened={discarding}
          onClose={() => setDiscarding(false)}
          onDiscarded={editor.take}
        />
      )}
    </>
  );
}

// Saving that fails leads to the first field that is wrong, in whatever was folded away.
function useFocusOnWrong(form: React.RefObject<HTMLFormElement | null>, refused: boolean) {
  useEffect(() => {
    if (refused) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [form, refused]);
}

function Discard(props: {
  policy: Policy;
  opened: boolean;
  onClose: () => void;
  onDiscarded: (policy: Policy) => void;
}) {
  const { t } = useTranslation();
  const client = useClient(PolicyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { id, etag, name, version } = props.policy;
  return (
    <ConfirmDialog
      opened={props.opened}
      onClose={props.onClose}
      title={t("policies.edit.discardTitle", { name })}
      confirm={t("policies.edit.discard")}
      onConfirm={async () => {
        const answer = await once((idempotencyKey) =>
          client.discardPolicyDraft({ id, etag, idempotencyKey }),
        );
        if (answer.policy) props.onDiscarded(answer.policy);
        done(t("policies.edit.discarded", { name }));
        await refresh(PolicyService);
      }}
    >
      {t("policies.edit.discardBody", { version: String(version) })}
    </ConfirmDialog>
  );
}

function Conflict(props: { theirs: Policy; busy: boolean; onTake: () => void; onOverwrite: () => void }) {
  const { t } = useTranslation();
  const nameOf = useNames();
  const { theirs } = props;
  return (
    <div className={classes.conflict} role="alert">
      <p>
        <strong>{t("policies.conflict.title")}</strong>
      </p>
      <p>{t("policies.conflict.body", { who: nameOf(theirs.updatedBy) })}</p>
      <RuleView spec={specOfPolicy(theirs)} />
      <div className={classes.foot}>
        <Button size="xs" variant="default" onClick={props.onTake} disabled={props.busy}>
          {t("policies.conflict.take")}
        </Button>
        <Button size="xs" variant="default" onClick={props.onOverwrite} loading={props.busy}>
          {t("policies.conflict.overwrite")}
        </Button>
      </div>
    </div>
  );
}
