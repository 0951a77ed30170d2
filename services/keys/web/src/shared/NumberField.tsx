import { NumberInput } from "@mantine/core";
/** Num is a number as it is being typed; the empty text is none. */
export type Num = number | string;

type Props = {
  label: string;
  /** What it is called where the label alone does not say which one it is. */
  name?: string;
  description?: string;
  /** What is counted, behind the number. */
  unit?: string;
  value: Num;
  onChange: (value: Num) => void;
  placeholder?: string;
  min?: number;
  max: number;
  decimals?: number;
  error?: React.ReactNode;
};

/** NumberField takes a number or nothing. */
export function NumberField({ unit, decimals = 0, min = 0, name, ...props }: Props) {
  return (
    <NumberInput
      size="xs"
      hideControls
      min={min}
      clampBehavior="blur"
      allowNegative={false}
      allowDecimal={decimals > 0}
      decimalScale={decimals}
      inputMode={decimals > 0 ? "decimal" : "numeric"}
      suffix={unit ? ` ${unit}` : undefined}
      aria-label={name}
      {...props}
    />
  );
}
