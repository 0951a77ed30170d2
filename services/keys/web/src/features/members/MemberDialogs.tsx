import "@/strings/late/members";
import { Button, Group, Modal, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { type Member, MemberService } from "@/gen/claviger/keys/v1/member_pb";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { useClient, useSession } from "@/session/context";
import { CopyButton } from "@/shared/CopyText";
import { CutDialog } from "@/shared/CutDialog";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done } from "@/shared/errors/toast";
import { roleKey } from "@/shared/roles";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import classes from "./MembersPage.module.css";
import { newPassword } from "./password";
import { RoleChoice } from "./RoleChoice";

/** MembersDialog is what is open over the list. */
export type MembersDialog = { kind: "add" } | { kind: "role" | "disable" | "remove"; member: Member };

/** MemberDialogs add, change, disable and remove members. */
export default function MemberDialogs({ dialog, onClose }: { dialog: MembersDialog; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useClient(MemberService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  switch (dialog.kind) {
    case "add":
      return (
        <Modal opened onClose={onClose} title={t("members.addDialog.title")} size="lg">
          <Add onClose={onClose} />
        </Modal>
      );
    case "role":
      return (
        <Modal opened onClose={onClose} title={t("members.roleDialog.title", { email: dialog.member.email })}>
          <ChangeRole member={dialog.member} onClose={onClose} />
        </Modal>
      );
    case "disable":
    case "remove": {
      const { id, email, etag } = dialog.member;
      const removes = dialog.kind === "remove";
      return (
        <CutDialog
          onClose={onClose}
          onSeen={() => {
            onClose();
            void refresh(MemberService);
            void refresh(ApiKeyService);
          }}
          title={t(removes ? "members.remove.title" : "members.disable.title", { email })}
          confirm={t(removes ? "members.remove.confirm" : "members.disable.confirm")}
          {...(removes && { name: email, nameOf: t("members.remove.nameOf") })}
          done={t(removes ? "members.done.removed" : "members.disable.done", { email })}
          onConfirm={async (cutStreams) => {
            const { receipt } = await once(async (idempotencyKey) =>
              removes
                ? await client.deleteMember({ id, cutStreams, idempotencyKey })
                : await client.updateMember({ id, etag, disabled: true, cutStreams, idempotencyKey }),
            );
            return receipt;
          }}
        >
          {t(removes ? "members.remove.body" : "members.disable.body")}
        </CutDialog>
      );
    }
  }
}

function Add({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(MemberService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const email = useRef<HTMLInputElement>(null);
  // Shown to whoever adds the member, until the dialog closes: it has to be passed on.
  const [password, setPassword] = useState("");
  const [visible, setVisible] = useState(false);
  const [role, setRole] = useState(Role.MEMBER);
  const action = useAction(async () => {
    const address = email.current?.value.trim() ?? "";
    await once((idempotencyKey) => client.createMember({ email: address, role, password, idempotencyKey }));
    setPassword("");
    done(t("members.done.added", { email: address }));
    await refresh(MemberService);
    onClose();
  });
  return (
    <form
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        void action.run();
      }}
    >
      <Stack gap="md">
        {action.error !== null && <ProblemPanel title={t("members.addDialog.failed")} error={action.error} />}
        <TextInput
          ref={email}
          label={t("members.addDialog.email")}
          type="email"
          autoComplete="off"
          maxLength={254}
          required
          withAsterisk={false}
          data-autofocus
        />
        <RoleChoice
          legend={t("members.addDialog.role")}
          value={role}
          onChange={setRole}
          without={may.manageOwners ? [] : [Role.OWNER]}
        />
        <div className={classes.password}>
          <PasswordInput
            label={t("members.addDialog.password")}
            description={t("members.addDialog.passwordHint")}
            value={password}
            visible={visible}
            onVisibilityChange={setVisible}
            onChange={(event) => setPassword(event.currentTarget.value)}
            autoComplete="new-password"
            minLength={12}
            maxLength={256}
            required
            withAsterisk={false}
          />
          <Button
            variant="default"
            onClick={() => {
              setPassword(newPassword());
              setVisible(true);
            }}
          >
            {t("members.addDialog.generate")}
          </Button>
          {password && <CopyButton value={password} label={t("members.addDialog.password")} />}
        </div>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button type="submit" loading={action.busy}>
            {t("members.addDialog.submit")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function ChangeRole({ member, onClose }: { member: Member; onClose: () => void }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(MemberService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { id, email, etag } = member;
  const [role, setRole] = useState(member.role);
  const action = useAction(async () => {
    await once((idempotencyKey) => client.updateMember({ id, role, etag, idempotencyKey }));
    done(t("members.done.role", { email, role: t(`shell.roles.${roleKey(role)}`) }));
    await refresh(MemberService);
    onClose();
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (role === member.role) onClose();
        else void action.run();
      }}
    >
      <Stack gap="md">
        {action.error !== null && (
          <ProblemPanel title={t("members.roleDialog.failed")} error={action.error} />
        )}
        <RoleChoice
          legend={t("members.roleDialog.legend")}
          value={role}
          onChange={setRole}
          without={may.manageOwners ? [] : [Role.OWNER]}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button type="submit" loading={action.busy}>
            {t("members.roleDialog.submit")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
