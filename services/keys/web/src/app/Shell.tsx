import { TransportProvider } from "@connectrpc/connect-query";
import "@mantine/notifications/styles.layer.css";
import { ActionIcon, Burger, Drawer, Kbd, UnstyledButton } from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { Notifications } from "@mantine/notifications";
import { IconSearch } from "@tabler/icons-react";
import { QueryClientProvider } from "@tanstack/react-query";
import { getRouteApi, Link, Outlet, useRouter, useRouterState } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { SessionContext, useSession } from "@/session/context";
import { AccountMenu } from "./AccountMenu";
import { groups } from "./navigation";
import { OrganizationMenu } from "./OrganizationMenu";
import { officeOf } from "./offices";
import classes from "./Shell.module.css";
import { sessions } from "./sessions";

const Palette = lazy(() => import("./Palette"));
const route = getRouteApi("/o/$org");

/** Shell is the frame around an organization's pages, and gives them its session, server and cache. */
export function Shell() {
  const { org } = route.useParams();
  const { signed } = route.useRouteContext();
  const office = officeOf(org);
  useSignInAgain(org);
  return (
    <SessionContext.Provider value={sessions.signed(org) ?? signed}>
      <TransportProvider transport={office.transport}>
        <QueryClientProvider client={office.queries}>
          <Frame key={org} />
        </QueryClientProvider>
      </TransportProvider>
    </SessionContext.Provider>
  );
}

// Leads to sign-in when the session ends while a page is open, and back to that page afterwards.
function useSignInAgain(org: string) {
  const router = useRouter();
  useEffect(
    () =>
      sessions.subscribe((slug, ending) => {
        if (slug !== org || !ending) return;
        const to = ending === "expired" ? router.state.location.href : undefined;
        void router.navigate({
          to: "/sign-in",
          search: { org, to, ended: ending },
          replace: ending === "expired",
        });
      }),
    [org, router],
  );
}

function Frame() {
  const { t } = useTranslation();
  const [menu, { open, close }] = useDisclosure();
  const [palette, setPalette] = useState(false);
  const search = useCallback(() => {
    close();
    setPalette(true);
  }, [close]);
  useHotkeys([["mod+K", search]], []);
  const path = useRouterState({ select: (state) => state.location.pathname });
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page closes the menu
  useEffect(close, [path]);

  return (
    <div className={classes.shell}>
      {/* biome-ignore lint/a11y/useValidAnchor: it is a link inside the page; see skip */}
      <a className={classes.skip} href="#content" onClick={skip}>
        {t("shell.skip")}
      </a>
      <header className={classes.top}>
        <Burger
          opened={menu}
          onClick={open}
          size="sm"
          aria-label={t("shell.openMenu")}
          aria-expanded={menu}
        />
        <OrganizationMenu />
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("shell.search")} onClick={search}>
          <IconSearch size={18} />
        </ActionIcon>
      </header>
      <div className={classes.side}>
        <Side onSearch={search} />
      </div>
      <Drawer.Root opened={menu} onClose={close} size="17rem" padding={0} lockScroll={false}>
        <Drawer.Overlay />
        <Drawer.Content aria-label={t("shell.navigation")}>
          <Drawer.Body className={classes.drawer}>
            <Side onSearch={search} />
          </Drawer.Body>
        </Drawer.Content>
      </Drawer.Root>
      <main className={classes.main} id="content" tabIndex={-1}>
        <Outlet />
      </main>
      <section aria-label={t("shell.notifications")}>
        <Notifications position="bottom-right" limit={4} withinPortal={false} />
      </section>
      {palette && (
        <Suspense fallback={null}>
          <Palette onClose={() => setPalette(false)} />
        </Suspense>
      )}
    </div>
  );
}

// A hash in the address would be a new page to the router.
function skip(event: React.MouseEvent) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

function Side({ onSearch }: { onSearch: () => void }) {
  const { t } = useTranslation();
  const { org, may } = useSession();
  return (
    <div className={classes.sideBody}>
      <OrganizationMenu />
      <UnstyledButton className={classes.search} onClick={onSearch} aria-keyshortcuts="Control+K Meta+K">
        <IconSearch size={15} aria-hidden />
        <span>{t("shell.search")}</span>
        <Kbd size="xs" className={classes.kbd} aria-hidden>
          {isMac ? "⌘K" : "Ctrl K"}
        </Kbd>
      </UnstyledButton>
      <nav className={classes.nav} aria-label={t("shell.navigation")}>
        {groups.map((group) => {
          const items = group.items.filter((item) => !item.may || may[item.may]);
          if (items.length === 0) return null;
          return (
            <div key={group.title ?? "first"} className={classes.group}>
              {group.title && <div className={classes.groupTitle}>{t(`shell.groups.${group.title}`)}</div>}
              <ul>
                {items.map(({ id, to, icon: Glyph }) => (
                  <li key={id}>
                    <Link
                      to={to}
                      params={{ org }}
                      className={classes.link}
                      activeOptions={{ exact: to === "/o/$org", includeSearch: false }}
                      activeProps={{ "aria-current": "page" }}
                    >
                      <Glyph size={17} stroke={1.7} aria-hidden />
                      {t(`shell.pages.${id}`)}
                    </Link>
                  </li>
                ))}
              </ul>
            </div>
          );
        })}
      </nav>
      <AccountMenu />
    </div>
  );
}

const isMac = /mac|iphone|ipad/i.test(navigator.userAgent);
