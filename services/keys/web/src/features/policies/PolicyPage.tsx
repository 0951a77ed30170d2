import "@/strings/late/policies";
import { useQuery } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Policy, PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { useSession } from "@/session/context";
import { CopyText } from "@/shared/CopyText";
import { done } from "@/shared/errors/toast";
import { Page, Panel } from "@/shared/Page";
import { Loaded, Loading } from "@/shared/states";
import { Time } from "@/shared/Time";
import { useNames } from "@/shared/useNames";
import { DeletePolicy } from "./DeletePolicy";
import { DefaultNames } from "./PoliciesPage";
import { PolicyEditor } from "./PolicyEditor";
import classes from "./PolicyPage.module.css";
import { RuleView } from "./RuleView";
import { specOfPolicy } from "./rule";
import { useChoices } from "./useChoices";
import { useDefaultOf } from "./useDefaultOf";
import { Versions } from "./Versions";

const route = getRouteApi("/o/$org/policies/$policyId");

/** PolicyPage shows and changes one policy. */
export function PolicyPage() {
  const { policyId } = route.useParams();
  return <PolicyView id={policyId} />;
}

/** PolicyView is the page of the policy with an id. */
export function PolicyView({ id }: { id: string }) {
  const { t } = useTranslation();
  const query = useQuery(PolicyService.method.getPolicy, { id });
  const policy = query.data?.policy;
  if (policy) return <Known policy={policy} />;
  return (
    <Page title={t("policies.title")}>
      <Loaded query={query} errorTitle={t("policies.edit.loadFailed")}>
        {() => <Loading />}
      </Loaded>
    </Page>
  );
}

function Known({ policy }: { policy: Policy }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const navigate = useNavigate();
  const nameOf = useNames();
  const defaultOf = useDefaultOf();
  const [removing, setRemoving] = useState(false);
  const [rolledBack, setRolledBack] = useState<Policy>();
  const groups = useChoices(policy.name).groups;
  const { name } = policy;
  return (
    <Page
      title={name}
      description={<CopyText value={`policy/${name}`} label={t("policies.modelId", { name })} />}
      actions={
        <>
          {policy.version > 0n && (
            <Button
              variant="default"
              renderRoot={(props) => (
                <Link to="/o/$org/preview" params={{ org }} search={{ model: `policy/${name}` }} {...props} />
              )}
            >
              {t("policies.edit.preview")}
            </Button>
          )}
          {may.managePolicies && (
            <Button variant="default" onClick={() => setRemoving(true)}>
              {t("policies.remove.confirm")}
            </Button>
          )}
        </>
      }
    >
      <dl className={classes.facts}>
        <div>
          <dt>{t("policies.columns.version")}</dt>
          <dd className="num">{policy.version > 0n ? String(policy.version) : t("policies.unpublished")}</dd>
        </div>
        {policy.publishTime && (
          <div>
            <dt>{t("policies.edit.published")}</dt>
            <dd>
              <Time value={policy.publishTime} />{" "}
              {policy.publishedBy && t("policies.by", { who: nameOf(policy.publishedBy) })}
            </dd>
          </div>
        )}
        <div>
          <dt>{t("policies.edit.changed")}</dt>
          <dd>
            <Time value={policy.updateTime} />{" "}
            {policy.updatedBy && t("policies.by", { who: nameOf(policy.updatedBy) })}
          </dd>
        </div>
        <div>
          <dt>{t("policies.edit.usedBy")}</dt>
          <dd>
            <DefaultNames names={defaultOf?.(policy.id)} />
          </dd>
        </div>
      </dl>
      {may.managePolicies ? (
        <PolicyEditor
          // Somebody else's change does not throw away what is being typed; the server's etag decides.
          key={policy.id}
          policy={policy}
          latest={rolledBack}
          onSaved={(saved, how) => {
            if (how === "draft") done(t("policies.edit.draftSaved", { name: saved.name }));
          }}
        />
      ) : (
        <Panel>
          <RuleView spec={policy.spec ?? specOfPolicy(policy)} groups={groups} />
        </Panel>
      )}
      <Versions policy={policy} onRolledBack={setRolledBack} />
      <DeletePolicy
        policy={removing ? policy : null}
        defaultOf={defaultOf}
        onClose={() => setRemoving(false)}
        onDeleted={() => void navigate({ to: "/o/$org/policies", params: { org } })}
      />
    </Page>
  );
}

/** NewPolicyPage creates a policy. */
export function NewPolicyPage() {
  const { t } = useTranslation();
  const { org } = useSession();
  const navigate = useNavigate();
  return (
    <Page title={t("policies.edit.newTitle")} description={t("policies.edit.newDescription")}>
      <PolicyEditor
        onSaved={({ id, name }, how) => {
          if (how === "draft") {
            done(t("policies.edit.draftSaved", { name }));
            void navigate({ to: "/o/$org/policies/$policyId", params: { org, policyId: id } });
            return;
          }
          done(t("policies.edit.created", { name }));
          void navigate({ to: "/o/$org/policies", params: { org } });
        }}
      />
    </Page>
  );
}
