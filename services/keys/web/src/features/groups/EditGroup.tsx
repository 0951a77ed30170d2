import "@/strings/late/groups";
import { Modal, Stack } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Group, GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { useClient } from "@/session/context";
import { DefaultPolicyFields } from "@/shared/DefaultPolicyFields";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { problemOf } from "@/shared/errors/problem";
import { done } from "@/shared/errors/toast";
import { problemWords } from "@/shared/errors/words";
import { FormFoot, NameField } from "@/shared/fields";
import { Patterns } from "@/shared/Patterns";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";

/** EditGroup creates a group, or changes one. */
export function EditGroup({ group, onClose }: { group?: Group; onClose: () => void }) {
  const { t } = useTranslation();
  const title = group ? t("groups.form.edit", { name: group.name }) : t("groups.create");
  return (
    <Modal opened onClose={onClose} title={title} size="lg">
      <Form group={group} onClose={onClose} />
    </Modal>
  );
}

function Form({ group, onClose }: { group: Group | undefined; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useClient(GroupService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const [name, setName] = useState(group?.name ?? "");
  const [nameError, setNameError] = useState("");
  const [serves, setServes] = useState({
    policyId: group?.policyId ?? "",
    enforce: group?.enforcePolicy ?? false,
  });
  const [models, setModels] = useState(group?.approvedModels ?? []);
  const action = useAction(async () => {
    const said = {
      name: name.trim(),
      policyId: serves.policyId,
      enforcePolicy: serves.enforce && serves.policyId !== "",
      approvedModels: models,
    };
    try {
      await once(async (idempotencyKey) => {
        if (group) await client.updateGroup({ id: group.id, etag: group.etag, ...said, idempotencyKey });
        else await client.createGroup({ ...said, idempotencyKey });
      });
    } catch (error) {
      const problem = problemOf(error);
      if (problem.reason === "GROUP_EXISTS") setNameError(problemWords(t, problem).what);
      throw error;
    }
    done(t(group ? "groups.form.saved" : "groups.form.created", { name: name.trim() }));
    await refresh(GroupService);
    onClose();
  });
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const missing = name.trim() ? "" : t("groups.form.nameMissing");
        setNameError(missing);
        if (!missing) void action.run();
      }}
    >
      <Stack gap="md">
        <NameField
          label={t("groups.form.name")}
          value={name}
          error={nameError}
          onChange={setName}
          onError={setNameError}
        />
        <DefaultPolicyFields
          label={t("groups.form.policy")}
          description={t("groups.form.policyHint")}
          none={t("groups.form.noPolicy")}
          enforceLabel={t("groups.form.enforce")}
          enforceHint={t("groups.form.enforceHint")}
          value={serves}
          onChange={(part) => setServes({ ...serves, ...part })}
        />
        <Patterns
          size="sm"
          label={t("groups.form.models")}
          description={t("groups.form.modelsHint")}
          placeholder={t("groups.allModels")}
          value={models}
          onChange={setModels}
          most={1000}
        />
        {action.error !== null && !nameError && (
          <ProblemPanel title={t("groups.form.saveFailed")} error={action.error} />
        )}
        <FormFoot
          onCancel={onClose}
          submit={t(group ? "common.save" : "groups.form.create")}
          busy={action.busy}
        />
      </Stack>
    </form>
  );
}
