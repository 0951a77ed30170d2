import { PasswordInput } from "@mantine/core";

type Props = {
  ref: React.Ref<HTMLInputElement>;
  name?: string;
  label: string;
  description?: React.ReactNode;
  error?: React.ReactNode;
  placeholder?: string;
  autoFocus?: boolean;
};

/**
 * SecretInput takes a secret that is not a password of ours. It is uncontrolled, so that the secret is
 * in the input and nowhere else; whoever reads it through ref empties it. Password managers are asked
 * to leave it alone.
 */
export function SecretInput({ ref, name, label, description, error, placeholder, autoFocus }: Props) {
  return (
    <PasswordInput
      ref={ref}
      name={name}
      data-secret
      label={label}
      description={description}
      error={error}
      placeholder={placeholder}
      autoComplete="off"
      autoCapitalize="none"
      autoCorrect="off"
      spellCheck={false}
      data-1p-ignore
      data-lpignore="true"
      data-bwignore
      data-autofocus={autoFocus || undefined}
      classNames={{ innerInput: "mono" }}
    />
  );
}

/** takeSecret returns what a person has put into a SecretInput, and empties it. */
export function takeSecret(input: HTMLInputElement | null): string {
  if (!input) return "";
  const secret = input.value.trim();
  emptySecret(input);
  return secret;
}

/** emptySecret empties a SecretInput. */
export function emptySecret(input: HTMLInputElement | null): void {
  if (input) input.value = "";
}
