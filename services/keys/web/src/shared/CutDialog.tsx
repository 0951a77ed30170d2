import "@/strings/late/receipt";
import { Button, Checkbox, Group, Modal, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Receipt } from "@/gen/claviger/keys/v1/receipt_pb";
import { ProblemPanel } from "./errors/ProblemPanel";
import { FormFoot, isTyped, TypedName } from "./fields";
import { ReceiptPanel } from "./ReceiptPanel";
import { Status } from "./Status";
import { useAction } from "./useAction";

type Props = {
  onClose: () => void;
  /** Called when the dialog is closed after it was done. */
  onSeen: () => void;
  title: string;
  /** What will be gone, and what stops working. */
  children: React.ReactNode;
  /** The verb on the button: "Remove credential". */
  confirm: string;
  /** Where a secret is destroyed: the name that has to be typed first. */
  name?: string;
  /** What the name is: "the label". */
  nameOf?: string;
  /** What has been done, over the receipt. */
  done: string;
  /** Does it; cut says whether answers that are being given shall end. */
  onConfirm: (cut: boolean) => Promise<Receipt | undefined>;
};

/**
 * CutDialog asks before something is taken out of use, and then says which routers have confirmed it. It
 * stays until it is closed: whoever pulls a plug wants to see that it is out.
 */
export function CutDialog({ onClose, title, children, confirm, name, nameOf, ...props }: Props) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState("");
  const [cut, setCut] = useState(false);
  const [ended, setEnded] = useState<{ receipt: Receipt | undefined }>();
  const action = useAction(async () => {
    setEnded({ receipt: await props.onConfirm(cut) });
  });
  const ready = isTyped(name, typed);
  if (ended) {
    return (
      <Modal opened onClose={props.onSeen} title={title}>
        <Stack gap="md">
          <Text size="sm">{props.done}</Text>
          {ended.receipt && <ReceiptPanel receipt={ended.receipt} cut={cut} />}
          <Group justify="flex-end">
            <Button onClick={props.onSeen} data-autofocus>
              {t("receipt.seen")}
            </Button>
          </Group>
        </Stack>
      </Modal>
    );
  }
  return (
    <Modal opened onClose={onClose} title={title} closeOnClickOutside={!action.busy}>
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
          <Checkbox
            size="xs"
            label={t("receipt.cut")}
            description={t("receipt.cutHint")}
            checked={cut}
            onChange={(event) => setCut(event.currentTarget.checked)}
          />
          <TypedName name={name} nameOf={nameOf} value={typed} onChange={setTyped} />
          <div role="status">{action.busy && <Status tone="busy">{t("receipt.working")}</Status>}</div>
          {action.error !== null && <ProblemPanel error={action.error} />}
          <FormFoot
            onCancel={onClose}
            submit={confirm}
            busy={action.busy}
            danger={{ ready, typing: name !== undefined }}
          />
        </Stack>
      </form>
    </Modal>
  );
}
