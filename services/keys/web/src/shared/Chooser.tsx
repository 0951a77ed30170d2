import { NativeSelect } from "@mantine/core";
import { lazy, Suspense } from "react";

const LongChooser = lazy(() => import("./LongChooser"));

/** Choice is one thing to choose. */
export type Choice = { value: string; label: string };

/** ChooserProps are what a Chooser asks, and of what. */
export type ChooserProps = {
  label?: string;
  "aria-label"?: string;
  description?: React.ReactNode;
  error?: React.ReactNode;
  size?: "xs" | "sm";
  value: string;
  onChange: (value: string) => void;
  options: readonly (Choice | { group: string; items: Choice[] })[];
  /** There are more than these, such as while a long list is still being read. */
  more?: boolean;
  classNames?: { root?: string; label?: string };
};

/** A plain select shows so many at most; browsers and phones are best at short lists. */
const short = 30;

/**
 * Chooser chooses one of some objects by name. A long list can be searched. What is chosen and not among them,
 * since it cannot be seen or is gone, keeps its place.
 */
export function Chooser({ options, more = false, value, onChange, ...props }: ChooserProps) {
  const all = options.flatMap((option) => ("group" in option ? option.items : [option]));
  const known = all.some((option) => option.value === value);
  const data = known ? [...options] : [...options, { value, label: value }];
  const plain = (
    <NativeSelect
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      data={data}
      {...props}
    />
  );
  if (!more && all.length <= short) return plain;
  return (
    <Suspense fallback={plain}>
      <LongChooser options={data} more={more} value={value} onChange={onChange} {...props} />
    </Suspense>
  );
}
