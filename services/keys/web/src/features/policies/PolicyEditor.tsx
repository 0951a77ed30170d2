import { Button, Input, TextInput } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useBlocker } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { type Policy, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useClient } from "@/session/context";
import { ClassTag } from "@/shared/ClassTag";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { problemWords } from "@/shared/errors/words";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useNames } from "@/shared/useNames";
import { useRefresh } from "@/shared/useRefresh";
import { LineList } from "./LineList";
import { allTargets, check, type Errors, errorsOf, linesOf, newLine, sameLines, targetsOf } from "./lines";
import classes from "./PolicyPage.module.css";
import { TargetLines } from "./TargetLines";
import { useModels } from "./useModels";

const none: Errors = new Map();
const mostLines = 32;

type Props = { policy?: Policy; onSaved: (policy: Policy) => void };

/** PolicyEditor creates a policy or changes the lines of one. */
export function PolicyEditor({ policy, onSaved }: Props) {
  const { t } = useTranslation();
  const models = useModels();
  const editor = usePolicyEditor(policy, onSaved);
  const { lines, setLines, errors, save, conflict } = editor;
  const problem = save.error === null ? undefined : problemOf(save.error);
  const onLines = errors.size > 0;

  return (
    <form
      className={classes.form}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        editor.submit();
      }}
    >
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
      <fieldset className={classes.lines}>
        <Input.Label component="legend" p={0}>
          {t("policies.edit.lines")}
        </Input.Label>
        <p className={classes.hint}>{t("policies.edit.linesHint")}</p>
        <LineList lines={lines} onChange={setLines} errors={errors} onMend={editor.mend} models={models} />
        <div>
          <Button
            variant="default"
            size="xs"
            leftSection={<IconPlus size={14} />}
            disabled={lines.length >= mostLines}
            onClick={() => setLines([...lines, newLine()])}
          >
            {t("policies.edit.add")}
          </Button>
        </div>
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
      </fieldset>
      {conflict && (
        <Conflict
          theirs={conflict}
          busy={save.busy}
          onTake={() => editor.take(conflict)}
          onOverwrite={() => void save.run(conflict.etag)}
        />
      )}
      {onLines && (
        <p role="alert" className={classes.lineErrors}>
          {t("policies.edit.lineErrors")}
        </p>
      )}
      {problem && !conflict && !onLines && !editor.nameError && (
        <ProblemPanel title={t("policies.edit.failed")} error={save.error} />
      )}
      <div className={classes.foot}>
        <Button type="submit" loading={save.busy} disabled={policy !== undefined && !editor.changed}>
          {t(policy ? "policies.edit.save" : "policies.edit.create")}
        </Button>
      </div>
    </form>
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
      <p>
        {t("policies.conflict.body", {
          who: nameOf(theirs.updatedBy),
          version: String(theirs.version),
        })}
      </p>
      <TargetLines targets={allTargets(theirs)} />
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

function usePolicyEditor(policy: Policy | undefined, onSaved: (policy: Policy) => void) {
  const { t } = useTranslation();
  const client = useClient(PolicyService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [name, setName] = useState(policy?.name ?? "");
  const [nameError, setNameError] = useState("");
  // What the changes build on; a reading in the background does not move it.
  const [base, setBase] = useState(policy);
  const [lines, setLines] = useState(() => (policy ? linesOf(allTargets(policy)) : [newLine()]));
  const [errors, setErrors] = useState<Errors>(none);
  const [conflict, setConflict] = useState<Policy>();
  const leaving = useRef(false);
  const changed = base
    ? !sameLines(lines, linesOf(allTargets(base)))
    : name !== "" || !sameLines(lines, [newLine()]);
  // A click in the navigation must not lose an hour of thought.
  useBlocker({
    shouldBlockFn: () => changed && !leaving.current && !window.confirm(t("policies.edit.leave")),
    enableBeforeUnload: () => changed && !leaving.current,
  });

  const send = async (etag: string | undefined) => {
    const spec = { groups: [{ targets: targetsOf(lines) }] };
    const publish = true;
    if (!base || etag === undefined) {
      return once((idempotencyKey) =>
        client.createPolicy({ name: name.trim(), spec, publish, idempotencyKey }),
      );
    }
    return once((idempotencyKey) =>
      client.updatePolicy({ id: base.id, spec, publish, etag, idempotencyKey }),
    );
  };

  const save = useAction(async (etag: string | undefined) => {
    try {
      const { policy: saved } = await send(etag);
      if (!saved) return;
      setConflict(undefined);
      setBase(saved);
      setLines(linesOf(allTargets(saved)));
      leaving.current = true;
      onSaved(saved);
      await refresh(PolicyService);
      leaving.current = false;
    } catch (error) {
      const problem = problemOf(error);
      const found = errorsOf(problem.fields, lines);
      setErrors(found.lines);
      if (found.rest["name"]) setNameError(found.rest["name"]);
      if (problem.reason === "POLICY_EXISTS") setNameError(problemWords(t, problem).what);
      if (problem.reason === "ETAG_MISMATCH" && base) {
        setConflict((await client.getPolicy({ id: base.id })).policy);
      }
      throw error;
    }
  });

  return {
    name,
    nameError,
    lines,
    errors,
    conflict,
    changed,
    save,
    setLines,
    setName(next: string) {
      setNameError("");
      setName(next);
    },
    mend(key: number) {
      if (errors.has(key)) setErrors(new Map([...errors].filter(([other]) => other !== key)));
    },
    take(theirs: Policy) {
      setConflict(undefined);
      setErrors(none);
      save.clear();
      setBase(theirs);
      setLines(linesOf(allTargets(theirs)));
    },
    submit() {
      const found = new Map<number, string>();
      for (const line of lines) {
        const error = check(line);
        if (error) found.set(line.key, t(`policies.edit.${error}`));
      }
      setErrors(found);
      const nameProblem = policy ? undefined : checkName(name.trim());
      setNameError(nameProblem ? t(`policies.edit.${nameProblem}`) : "");
      if (found.size === 0 && !nameProblem) void save.run(base?.etag);
    },
  };
}

// The server's own rule.
function checkName(name: string): "nameMissing" | "nameBad" | undefined {
  if (!name) return "nameMissing";
  return /^[a-z0-9][a-z0-9._-]{0,62}$/.test(name) ? undefined : "nameBad";
}
