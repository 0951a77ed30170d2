import { Anchor, Button, PasswordInput, TextInput, Title } from "@mantine/core";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { Logo } from "@/app/Logo";
import { sessions } from "@/app/sessions";
import { knownOrganizations, remember } from "@/session/known";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { useAction } from "@/shared/useAction";
import classes from "./SignInPage.module.css";

const route = getRouteApi("/sign-in");

const endings = {
  "signed-out": "account.signIn.signedOut",
  expired: "account.signIn.expired",
  unsure: "account.signIn.unsure",
} as const;

/** SignInPage begins a session. It remembers the organization, never the person. */
export function SignInPage() {
  const { t } = useTranslation();
  const { org, to, ended } = route.useSearch();
  const router = useRouter();
  const known = knownOrganizations();
  const [organization, setOrganization] = useState(org ?? known[0]?.slug ?? "");
  const email = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);

  useEffect(() => {
    document.title = `${t("account.signIn.title")} · Claviger`;
  }, [t]);

  const action = useAction(async () => {
    try {
      const signed = await sessions.signIn(
        organization.trim().toLowerCase(),
        email.current?.value.trim() ?? "",
        password.current?.value ?? "",
      );
      remember(signed.organization);
      const slug = signed.organization.slug;
      const back =
        to && (to === `/o/${slug}` || to.startsWith(`/o/${slug}/`) || to.startsWith(`/o/${slug}?`));
      if (back) router.history.replace(to);
      else await router.navigate({ to: "/o/$org", params: { org: slug }, replace: true });
    } finally {
      // Right or wrong, the password does not stay in the page.
      if (password.current) password.current.value = "";
    }
  });

  const wrong = action.error !== null;
  useEffect(() => {
    if (wrong) password.current?.focus();
  }, [wrong]);

  return (
    <main className={classes.page}>
      <div className={classes.box}>
        <Logo />
        <Title order={1}>{t("account.signIn.title")}</Title>
        {ended && !wrong && (
          <p className={classes.note} role="status">
            {t(endings[ended])}
          </p>
        )}
        {wrong && <ProblemPanel title={t("account.signIn.failed")} error={action.error} />}
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault();
            void action.run();
          }}
        >
          <TextInput
            label={t("account.signIn.organization")}
            description={t("account.signIn.organizationHint")}
            name="organization"
            autoComplete="organization"
            autoCapitalize="none"
            spellCheck={false}
            required
            withAsterisk={false}
            value={organization}
            onChange={(event) => setOrganization(event.currentTarget.value)}
            autoFocus={organization === ""}
          />
          <TextInput
            ref={email}
            label={t("account.signIn.email")}
            name="email"
            type="email"
            autoComplete="username"
            required
            withAsterisk={false}
            autoFocus={organization !== ""}
          />
          <PasswordInput
            ref={password}
            label={t("account.signIn.password")}
            name="password"
            autoComplete="current-password"
            required
            withAsterisk={false}
          />
          <Button type="submit" loading={action.busy} fullWidth mt="xs">
            {t("account.signIn.submit")}
          </Button>
        </form>
        {known.length > 1 && (
          <nav className={classes.known} aria-label={t("account.signIn.known")}>
            {known.map(({ slug, name }) => (
              <Anchor
                key={slug}
                component="button"
                type="button"
                size="xs"
                onClick={() => setOrganization(slug)}
              >
                {name}
              </Anchor>
            ))}
          </nav>
        )}
      </div>
    </main>
  );
}
