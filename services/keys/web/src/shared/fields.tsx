import { Button, Group, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";

// What several forms ask in the same way.

type NameProps = {
  label: string;
  description?: string;
  value: string;
  onChange: (value: string) => void;
  error: string;
  /** Takes the mistake back, once somebody types. */
  onError: (error: string) => void;
};

/** NameField asks what something shall be called. It comes first in its dialog. */
export function NameField({ onChange, onError, ...props }: NameProps) {
  return (
    <TextInput
      {...props}
      onChange={(event) => {
        onError("");
        onChange(event.currentTarget.value);
      }}
      maxLength={80}
      autoComplete="off"
      data-autofocus
    />
  );
}

type FootProps = {
  onCancel: () => void;
  cancel?: string;
  /** The verb on the button; absent is none to press. */
  submit: string | undefined;
  busy: boolean;
  /** It destroys something: then the other button is where the keyboard begins, unless something is to be typed. */
  danger?: { ready: boolean; typing: boolean };
};

/** FormFoot is the end of a dialog's form: leave it, or do it. */
export function FormFoot({ onCancel, cancel, submit, busy, danger }: FootProps) {
  const { t } = useTranslation();
  return (
    <Group justify="flex-end">
      <Button variant="default" onClick={onCancel} data-autofocus={(danger && !danger.typing) || undefined}>
        {cancel ?? t("common.cancel")}
      </Button>
      {submit && (
        <Button type="submit" color={danger && "red"} disabled={danger && !danger.ready} loading={busy}>
          {submit}
        </Button>
      )}
    </Group>
  );
}

type TypedProps = {
  name: string | undefined;
  /** What the name is: "the label". */
  nameOf: string | undefined;
  value: string;
  onChange: (value: string) => void;
};

/** TypedName makes a person type the name of what they are about to destroy. Without a name it asks nothing. */
export function TypedName({ name, nameOf, value, onChange }: TypedProps) {
  const { t } = useTranslation();
  if (name === undefined) return null;
  return (
    <TextInput
      label={t("confirm.type", { what: nameOf ?? t("confirm.name") })}
      description={<code>{name}</code>}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      autoComplete="off"
      spellCheck={false}
      data-autofocus
    />
  );
}

/** isTyped reports whether the name was typed, or none is asked for. */
export function isTyped(name: string | undefined, typed: string): boolean {
  return name === undefined || typed.trim() === name.trim();
}
