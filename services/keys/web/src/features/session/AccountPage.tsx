import "@/strings/late/members";
import { Button, PasswordInput } from "@mantine/core";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { sessions } from "@/app/sessions";
import { SessionService } from "@/gen/claviger/keys/v1/session_pb";
import { useClient, useSession } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done } from "@/shared/errors/toast";
import { Page, Panel, Section } from "@/shared/Page";
import { roleKey } from "@/shared/roles";
import { Time } from "@/shared/Time";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import classes from "./AccountPage.module.css";

/** AccountPage says who is signed in, and is where people change their password. */
export function AccountPage() {
  const { t } = useTranslation();
  const { member, organization, org } = useSession();
  return (
    <Page title={t("account.title")} narrow>
      <Section title={t("account.who.title")}>
        <Panel>
          <dl className={classes.facts}>
            <dt>{t("account.who.email")}</dt>
            <dd>{member.email}</dd>
            <dt>{t("account.who.role")}</dt>
            <dd>
              {t(`shell.roles.${roleKey(member.role)}`)}
              <span className={classes.quiet}>{t(`members.roles.${roleKey(member.role)}`)}</span>
            </dd>
            <dt>{t("account.who.organization")}</dt>
            <dd>
              {organization.name} <code>{organization.slug}</code>
            </dd>
            <dt>{t("account.who.lastSignIn")}</dt>
            <dd>
              <Time value={member.lastSignInTime} />
            </dd>
          </dl>
        </Panel>
      </Section>
      <Section title={t("account.password.title")} description={t("account.password.description")}>
        <Panel>
          <ChangePassword />
        </Panel>
      </Section>
      <Section title={t("account.session.title")} description={t("account.session.description")}>
        <div>
          <Button variant="default" onClick={() => void sessions.signOut(org)}>
            {t("account.session.signOut")}
          </Button>
        </div>
      </Section>
    </Page>
  );
}

function ChangePassword() {
  const { t } = useTranslation();
  const { member } = useSession();
  const client = useClient(SessionService);
  const once = useIdempotencyKey();
  const old = useRef<HTMLInputElement>(null);
  const fresh = useRef<HTMLInputElement>(null);
  const repeat = useRef<HTMLInputElement>(null);
  const [mistake, setMistake] = useState<"short" | "different">();
  const action = useAction(async () => {
    const [oldPassword, newPassword] = [old.current?.value ?? "", fresh.current?.value ?? ""];
    for (const input of [old, fresh, repeat]) if (input.current) input.current.value = "";
    await once((idempotencyKey) => client.changePassword({ oldPassword, newPassword, idempotencyKey }));
    done(t("account.password.done"));
  });
  return (
    <form
      className={classes.form}
      onSubmit={(event) => {
        event.preventDefault();
        const chosen = fresh.current?.value ?? "";
        const wrong =
          chosen.length < 12 ? "short" : chosen !== repeat.current?.value ? "different" : undefined;
        setMistake(wrong);
        if (!wrong) void action.run();
      }}
    >
      {action.error !== null && <ProblemPanel title={t("account.password.failed")} error={action.error} />}
      {/* For password managers, which ask whose password it is. */}
      <input type="text" name="username" autoComplete="username" value={member.email} readOnly hidden />
      <PasswordInput
        ref={old}
        label={t("account.password.old")}
        autoComplete="current-password"
        maxLength={256}
        required
        withAsterisk={false}
      />
      <PasswordInput
        ref={fresh}
        label={t("account.password.new")}
        description={t("account.password.newHint")}
        autoComplete="new-password"
        maxLength={256}
        required
        withAsterisk={false}
        error={mistake === "short" && t("account.password.short")}
      />
      <PasswordInput
        ref={repeat}
        label={t("account.password.repeat")}
        autoComplete="new-password"
        maxLength={256}
        required
        withAsterisk={false}
        error={mistake === "different" && t("account.password.different")}
      />
      <Button type="submit" loading={action.busy}>
        {t("account.password.submit")}
      </Button>
    </form>
  );
}
