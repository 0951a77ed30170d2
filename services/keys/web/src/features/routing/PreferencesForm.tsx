import "@/strings/late/routing";
import { ActionIcon, NativeSelect, Radio, Stack } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconTrash } from "@tabler/icons-react";
import { useBlocker } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { providerName, providerSlugs } from "@/features/credentials/names";
import {
  type GetRoutingPreferencesResponse,
  PlatformRule,
  RoutingService,
} from "@/gen/claviger/keys/v1/routing_pb";
import { useClient, useSession } from "@/session/context";
import { Chooser } from "@/shared/Chooser";
import { DefaultPolicyFields } from "@/shared/DefaultPolicyFields";
import { done } from "@/shared/errors/toast";
import { Panel, Section } from "@/shared/Page";
import { Several } from "@/shared/Several";
import { useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { useAllGroups, useAllPolicies } from "@/shared/whole";
import {
  messageOf,
  moved,
  type Preferences,
  platformRules,
  preferencesOf,
  samePreferences,
} from "./preferences";
import classes from "./RoutingPage.module.css";
import { SaveFoot } from "./SaveFoot";
import { useSaving } from "./useSaving";

type Answer = Pick<GetRoutingPreferencesResponse, "preferences" | "etag">;
type PartProps = {
  value: Preferences;
  set: (part: Partial<Preferences>) => void;
  /** Whether this person may change it. */
  may: boolean;
};

const readOf = ({ preferences, etag }: Answer) => ({ value: preferencesOf(preferences), etag });

/** PreferencesForm edits what holds for every request. Only an owner may: it says whose keys are used. */
export function PreferencesForm({ read }: { read: Answer }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(RoutingService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const saving = useSaving({
    read: readOf(read),
    same: samePreferences,
    send: async (value, etag) =>
      readOf(
        await once((idempotencyKey) =>
          client.updateRoutingPreferences({ preferences: messageOf(value), etag, idempotencyKey }),
        ),
      ),
    again: async () => readOf(await client.getRoutingPreferences({})),
    onSaved: async () => {
      done(t("routing.saved"));
      await refresh(RoutingService);
    },
  });
  const { value, set, changed } = saving;
  useBlocker({
    shouldBlockFn: () => changed && !window.confirm(t("routing.leave")),
    enableBeforeUnload: () => changed,
  });
  const part = { value, set, may: may.manageRouting };
  return (
    <form
      className={classes.form}
      onSubmit={(event) => {
        event.preventDefault();
        void saving.save.run();
      }}
    >
      <Platform {...part} />
      <Providers {...part} />
      <DefaultPolicy {...part} />
      <MemberGroup {...part} />
      {may.manageRouting && (
        <SaveFoot saving={saving} label={t("routing.save")} failed={t("routing.saveFailed")} />
      )}
    </form>
  );
}

function Platform({ value, set, may }: PartProps) {
  const { t } = useTranslation();
  const { rules } = value;
  const named = new Set(rules.map(({ provider }) => provider));
  const left = providerSlugs.filter((slug) => !named.has(slug));
  return (
    <Section title={t("routing.platform.title")} description={t("routing.platform.description")}>
      <Panel>
        <Stack gap="md">
          <Radio.Group
            label={t(rules.length > 0 ? "routing.platform.labelOthers" : "routing.platform.label")}
            value={String(value.platform)}
            onChange={(chosen) => set({ platform: Number(chosen) })}
            readOnly={!may}
          >
            <Stack gap="xs" mt={6}>
              {platformRules.map(({ value: rule, key }) => (
                <Radio
                  key={key}
                  size="sm"
                  value={String(rule)}
                  disabled={!may && rule !== value.platform}
                  label={t(`routing.platform.rules.${key}.name`)}
                  description={t(`routing.platform.rules.${key}.hint`)}
                />
              ))}
            </Stack>
          </Radio.Group>
          {(may || rules.length > 0) && (
            <fieldset className={classes.set}>
              <legend>{t("routing.platform.single")}</legend>
              {rules.map(({ provider, rule }) => {
                const name = providerName(provider);
                const known = platformRules.find((each) => each.value === rule)?.key ?? "never";
                return (
                  <div key={provider} className={classes.row}>
                    <span className={classes.name}>{name}</span>
                    {may ? (
                      <>
                        <NativeSelect
                          size="xs"
                          aria-label={t("routing.platform.rule", { provider: name })}
                          value={String(rule)}
                          onChange={(event) => {
                            const next = Number(event.currentTarget.value);
                            set({
                              rules: rules.map((each) =>
                                each.provider === provider ? { provider, rule: next } : each,
                              ),
                            });
                          }}
                          data={platformRules.map((each) => ({
                            value: String(each.value),
                            label: t(`routing.platform.rules.${each.key}.name`),
                          }))}
                        />
                        <ActionIcon
                          variant="subtle"
                          color="gray"
                          aria-label={t("routing.platform.remove", { provider: name })}
                          onClick={() => set({ rules: rules.filter((each) => each.provider !== provider) })}
                        >
                          <IconTrash size={16} />
                        </ActionIcon>
                      </>
                    ) : (
                      <span>{t(`routing.platform.rules.${known}.name`)}</span>
                    )}
                  </div>
                );
              })}
              {may && (
                <Add
                  label={t("routing.platform.add")}
                  placeholder={t("routing.platform.choose")}
                  providers={left}
                  onAdd={(provider) => set({ rules: [...rules, { provider, rule: PlatformRule.NEVER }] })}
                />
              )}
            </fieldset>
          )}
        </Stack>
      </Panel>
    </Section>
  );
}

// A choice that adds what is chosen.
function Add(props: {
  label: string;
  placeholder: string;
  providers: readonly string[];
  onAdd: (provider: string) => void;
}) {
  return (
    <NativeSelect
      size="xs"
      className={classes.add}
      aria-label={props.label}
      value=""
      onChange={(event) => event.currentTarget.value && props.onAdd(event.currentTarget.value)}
      data={[
        { value: "", label: props.placeholder },
        ...props.providers.map((slug) => ({ value: slug, label: providerName(slug) })),
      ]}
    />
  );
}

function Providers({ value, set, may }: PartProps) {
  const { t } = useTranslation();
  const { order, ignore } = value;
  const [said, setSaid] = useState("");
  const move = (at: number, by: -1 | 1) => {
    const provider = providerName(order[at] ?? "");
    set({ order: moved(order, at, by) });
    setSaid(t("routing.providers.moved", { provider, place: at + by + 1, count: order.length }));
  };
  return (
    <Section title={t("routing.providers.title")}>
      <Panel>
        <Stack gap="md">
          <fieldset className={classes.set}>
            <legend>{t("routing.providers.order")}</legend>
            <p className={classes.hint}>{t("routing.providers.orderHint")}</p>
            {order.length === 0 && <p className={classes.none}>{t("routing.providers.orderNone")}</p>}
            <ol className={classes.order}>
              {order.map((slug, at) => {
                const provider = providerName(slug);
                return (
                  <li key={slug} className={classes.row}>
                    <span className={classes.name}>
                      <span className="num">{at + 1}</span> {provider}
                    </span>
                    {may && (
                      <span className={classes.icons}>
                        <ActionIcon
                          variant="subtle"
                          color="gray"
                          disabled={at === 0}
                          aria-label={t("routing.providers.up", { provider })}
                          onClick={() => move(at, -1)}
                        >
                          <IconArrowUp size={16} />
                        </ActionIcon>
                        <ActionIcon
                          variant="subtle"
                          color="gray"
                          disabled={at === order.length - 1}
                          aria-label={t("routing.providers.down", { provider })}
                          onClick={() => move(at, 1)}
                        >
                          <IconArrowDown size={16} />
                        </ActionIcon>
                        <ActionIcon
                          variant="subtle"
                          color="gray"
                          aria-label={t("routing.providers.remove", { provider })}
                          onClick={() => set({ order: order.filter((each) => each !== slug) })}
                        >
                          <IconTrash size={16} />
                        </ActionIcon>
                      </span>
                    )}
                  </li>
                );
              })}
            </ol>
            {may && (
              <Add
                label={t("routing.providers.add")}
                placeholder={t("routing.providers.choose")}
                providers={providerSlugs.filter((slug) => !order.includes(slug))}
                onAdd={(slug) => set({ order: [...order, slug] })}
              />
            )}
            <div role="status" className="visually-hidden">
              {said}
            </div>
          </fieldset>
          {may ? (
            <Several
              size="sm"
              label={t("routing.providers.ignore")}
              description={t("routing.providers.ignoreHint")}
              placeholder={t("routing.providers.ignoreNone")}
              all={providerSlugs.map((id) => ({ id, name: providerName(id) }))}
              value={ignore}
              onChange={(next) => set({ ignore: next })}
            />
          ) : (
            <div className={classes.set}>
              <strong>{t("routing.providers.ignore")}</strong>
              <span>
                {ignore.length > 0 ? ignore.map(providerName).join(", ") : t("routing.providers.ignoreNone")}
              </span>
            </div>
          )}
        </Stack>
      </Panel>
    </Section>
  );
}

function DefaultPolicy({ value, set, may }: PartProps) {
  const { t } = useTranslation();
  const chosen =
    (useAllPolicies().items ?? []).find(({ id }) => id === value.policyId)?.name ?? value.policyId;
  return (
    <Section title={t("routing.policy.title")} description={t("routing.policy.description")}>
      <Panel>
        {may ? (
          <Stack gap="md" maw="24rem">
            <DefaultPolicyFields
              label={t("routing.policy.label")}
              none={t("routing.policy.none")}
              enforceLabel={t("routing.policy.enforce")}
              enforceHint={t("routing.policy.enforceHint")}
              value={value}
              onChange={set}
            />
          </Stack>
        ) : (
          <>
            {chosen || t("routing.policy.none")}
            {chosen && (
              <p className={classes.hint}>
                {t(value.enforce ? "routing.policy.enforceHint" : "routing.policy.unenforced")}
              </p>
            )}
          </>
        )}
      </Panel>
    </Section>
  );
}

function MemberGroup({ value, set, may }: PartProps) {
  const { t } = useTranslation();
  const { memberGroupId } = value;
  const { items = [], complete, more } = useAllGroups();
  const chosen = items.find(({ id }) => id === memberGroupId)?.name ?? memberGroupId;
  return (
    <Section title={t("routing.memberGroup.title")} description={t("routing.memberGroup.description")}>
      <Panel>
        {may ? (
          <Stack maw="24rem">
            <Chooser
              label={t("routing.memberGroup.label")}
              description={complete && items.length === 0 && t("routing.memberGroup.empty")}
              value={memberGroupId}
              onChange={(next) => set({ memberGroupId: next })}
              options={[
                { value: "", label: t("routing.memberGroup.none") },
                ...items.map(({ id, name }) => ({ value: id, label: name })),
              ]}
              more={more}
            />
          </Stack>
        ) : (
          chosen || t("routing.memberGroup.none")
        )}
      </Panel>
    </Section>
  );
}
