import { Button, Group, Modal, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ProblemPanel } from "./errors/ProblemPanel";
import { useAction } from "./useAction";

type Props = {
  opened: boolean;
  onClose: () => void;
  title: string;
  /** What will be gone, and what stops working. */
  children: React.ReactNode;
  /** The verb on the button: "Remove credential". */
  confirm: string;
  /** Where a secret is destroyed: the name that has to be typed first. */
  name?: string;
  /** What the name is: "the label". */
  nameOf?: string;
  /** Does it. The dialog closes after it, and shows why if it fails. */
  onConfirm: () => Promise<unknown>;
};

/** ConfirmDialog asks before something is destroyed. */
export function ConfirmDialog(props: Props) {
  const { opened, onClose, title } = props;
  return (
    <Modal opened={opened} onClose={onClose} title={title}>
      <Body {...props} />
    </Modal>
  );
}

// Mounted with the dialog, so that what was typed is gone with it.
function Body({ children, confirm, name, nameOf, onConfirm, onClose }: Props) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState("");
  const action = useAction(async () => {
    await onConfirm();
    onClose();
  });
  const ready = name === undefined || typed.trim() === name.trim();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) void action.run();
      }}
    >
      <Text size="sm" component="div">
        {children}
      </Text>
      {name !== undefined && (
        <TextInput
          mt="md"
          label={t("confirm.type", { what: nameOf ?? t("confirm.name") })}
          description={<code>{name}</code>}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
        />
      )}
      {action.error !== null && <ProblemPanel error={action.error} />}
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus={name === undefined || undefined}>
          {t("common.cancel")}
        </Button>
        <Button type="submit" color="red" disabled={!ready} loading={action.busy}>
          {confirm}
        </Button>
      </Group>
    </form>
  );
}
