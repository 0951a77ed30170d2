import { Switch } from "@mantine/core";
import { type Choice, Chooser } from "./Chooser";
import { useAllPolicies } from "./whole";

/** DefaultPolicy is a policy that requests go by if they name nothing, or always if it is enforced. */
export type DefaultPolicy = { policyId: string; enforce: boolean };

type DefaultPolicyProps = {
  label: string;
  description?: string;
  /** What it is called to have none. */
  none: string;
  enforceLabel: string;
  enforceHint: string;
  value: DefaultPolicy;
  onChange: (part: Partial<DefaultPolicy>) => void;
};

/** DefaultPolicyFields choose one. Drafts serve nobody, so only what is published is offered, and what is chosen. */
export function DefaultPolicyFields({ none, enforceLabel, enforceHint, ...props }: DefaultPolicyProps) {
  const { label, description, value, onChange } = props;
  const { policyId, enforce } = value;
  const { items, more } = useAllPolicies();
  const published: Choice[] = (items ?? [])
    .filter(({ id, version }) => version > 0n || id === policyId)
    .map(({ id, name }) => ({ value: id, label: name }));
  return (
    <>
      <Chooser
        label={label}
        description={description}
        value={policyId}
        onChange={(next) => onChange({ policyId: next })}
        options={[{ value: "", label: none }, ...published]}
        more={more}
      />
      <Switch
        size="sm"
        label={enforceLabel}
        description={enforceHint}
        checked={enforce && policyId !== ""}
        disabled={policyId === ""}
        onChange={(event) => onChange({ enforce: event.currentTarget.checked })}
      />
    </>
  );
}
