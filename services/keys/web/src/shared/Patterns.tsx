import { TagsInput } from "@mantine/core";

type Props = {
  label: string;
  description?: React.ReactNode;
  placeholder?: string | undefined;
  size?: "xs" | "sm";
  value: string[];
  onChange: (value: string[]) => void;
  error?: React.ReactNode;
  disabled?: boolean;
  most?: number;
};

/** Patterns takes patterns of models, such as "openai/*", one by one or pasted as a list. */
export function Patterns({ size = "xs", value, onChange, most = 256, placeholder, ...props }: Props) {
  return (
    <TagsInput
      size={size}
      value={value}
      onChange={(patterns) => onChange(patterns.map((pattern) => pattern.trim()).filter(Boolean))}
      placeholder={value.length === 0 ? placeholder : undefined}
      splitChars={[",", " ", "\n"]}
      maxTags={most}
      acceptValueOnBlur
      {...props}
    />
  );
}
