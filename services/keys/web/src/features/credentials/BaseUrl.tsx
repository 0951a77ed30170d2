import { NativeSelect, TextInput } from "@mantine/core";
import { useId } from "react";
import type { Provider } from "./providers";

type Props = {
  /** Whether only the hosts may be chosen. */
  listed: boolean;
  hosts: NonNullable<Provider["hosts"]>;
  label: string;
  hint?: string;
  value: string;
  error?: React.ReactNode;
  onChange: (baseUrl: string) => void;
};

/** BaseUrl takes another address than the provider's usual one: one of those that it has, or any. */
export function BaseUrl({ listed, hosts, label, hint, value, error, onChange }: Props) {
  const list = useId();
  if (listed) {
    return (
      <NativeSelect
        label={label}
        value={value}
        error={error}
        data={hosts.map(({ name, baseUrl }) => ({ value: baseUrl, label: name }))}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    );
  }
  return (
    <>
      <TextInput
        label={label}
        description={hint}
        placeholder="https://"
        type="url"
        inputMode="url"
        value={value}
        maxLength={512}
        autoComplete="off"
        spellCheck={false}
        error={error}
        list={list}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
      <datalist id={list}>
        {hosts
          .filter(({ baseUrl }) => baseUrl)
          .map(({ name, baseUrl }) => (
            <option key={baseUrl} value={baseUrl}>
              {name}
            </option>
          ))}
      </datalist>
    </>
  );
}
