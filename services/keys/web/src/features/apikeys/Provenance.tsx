import "@/strings/late/apikeys";
import { Radio, Stack } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { ProvenanceLevel } from "@/gen/claviger/keys/v1/api_key_pb";
import { provenanceKey } from "./state";

const levels = [ProvenanceLevel.NONE, ProvenanceLevel.BASIC, ProvenanceLevel.FULL];

type Props = { value: ProvenanceLevel; onChange: (value: ProvenanceLevel) => void };

/** Provenance chooses how much callers are told of what served them. */
export function Provenance({ value, onChange }: Props) {
  const { t } = useTranslation();
  return (
    <Radio.Group
      label={t("apiKeys.provenance.label")}
      value={String(value || ProvenanceLevel.BASIC)}
      onChange={(chosen) => onChange(Number(chosen) as ProvenanceLevel)}
    >
      <Stack gap="xs" mt={6}>
        {levels.map((each) => (
          <Radio
            key={each}
            value={String(each)}
            size="xs"
            label={t(`apiKeys.provenance.${provenanceKey(each)}.name`)}
            description={t(`apiKeys.provenance.${provenanceKey(each)}.hint`)}
          />
        ))}
      </Stack>
    </Radio.Group>
  );
}
