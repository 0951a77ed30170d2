import "@/strings/late/routing";
import { Stack } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { type GetApprovedModelsResponse, ModelService } from "@/gen/claviger/keys/v1/routing_pb";
import { useClient, useSession } from "@/session/context";
import { problemOf } from "@/shared/errors/problem";
import { done } from "@/shared/errors/toast";
import { Panel, Section } from "@/shared/Page";
import { Patterns } from "@/shared/Patterns";
import { useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import classes from "./RoutingPage.module.css";
import { SaveFoot } from "./SaveFoot";
import { useSaving } from "./useSaving";

type Answer = Pick<GetApprovedModelsResponse, "approvedModels" | "etag">;

const readOf = ({ approvedModels, etag }: Answer) => ({ value: { models: approvedModels }, etag });

/** ApprovedModels says which models the organization may use. */
export function ApprovedModels({ read }: { read: Answer }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(ModelService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const saving = useSaving({
    read: readOf(read),
    same: (a, b) => a.models.join("\n") === b.models.join("\n"),
    send: async ({ models }, etag) =>
      readOf(
        await once((idempotencyKey) =>
          client.updateApprovedModels({ approvedModels: models, etag, idempotencyKey }),
        ),
      ),
    again: async () => readOf(await client.getApprovedModels({})),
    onSaved: async () => {
      done(t("routing.approved.saved"));
      await refresh(ModelService);
    },
  });
  const { models } = saving.value;
  const fields = saving.save.error === null ? {} : problemOf(saving.save.error).fields;
  const wrong = Object.entries(fields)
    .filter(([field]) => field.startsWith("approved_models"))
    .map(([, description]) => description);
  return (
    <Section title={t("routing.approved.title")} description={t("routing.approved.description")}>
      <Panel>
        {may.approveModels ? (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void saving.save.run();
            }}
          >
            <Stack gap="md">
              <Patterns
                size="sm"
                label={t("routing.approved.label")}
                description={t("routing.approved.hint")}
                placeholder={t("routing.approved.every")}
                value={models}
                onChange={(next) => saving.set({ models: next })}
                error={wrong.length > 0 && wrong.join(" ")}
                most={1000}
              />
              <SaveFoot
                saving={saving}
                label={t("routing.approved.save")}
                failed={t("routing.approved.saveFailed")}
              />
            </Stack>
          </form>
        ) : (
          <>
            {models.length === 0 ? (
              t("routing.approved.every")
            ) : (
              <ul className={classes.list}>
                {models.map((model) => (
                  <li key={model}>
                    <code>{model}</code>
                  </li>
                ))}
              </ul>
            )}
            <p className={classes.hint}>{t("routing.approved.readOnly")}</p>
          </>
        )}
      </Panel>
    </Section>
  );
}
