import { Modal, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { ProblemPanel } from "./errors/ProblemPanel";
import { FormFoot, isTyped, TypedName } from "./fields";
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
  const [typed, setTyped] = useState("");
  const action = useAction(async () => {
    await onConfirm();
    onClose();
  });
  const ready = isTyped(name, typed);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) void action.run();
      }}
    >
      <Stack gap="md">
        <Text size="sm" component="div">
          {children}
        </Text>
        <TypedName name={name} nameOf={nameOf} value={typed} onChange={setTyped} />
        {action.error !== null && <ProblemPanel error={action.error} />}
        <FormFoot
          onCancel={onClose}
          submit={confirm}
          busy={action.busy}
          danger={{ ready, typing: name !== undefined }}
        />
      </Stack>
    </form>
  );
}
