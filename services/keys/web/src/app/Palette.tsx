import "@mantine/spotlight/styles.layer.css";
import { useMantineColorScheme } from "@mantine/core";
import { createSpotlight, Spotlight, type SpotlightActionGroupData } from "@mantine/spotlight";
import { IconBuilding, IconLogout, IconPlus, IconSearch, IconUserCircle } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { useSession } from "@/session/context";
import { knownOrganizations } from "@/session/known";
import { schemes } from "./AccountMenu";
import { groups } from "./navigation";
import classes from "./Palette.module.css";
import { sessions } from "./sessions";

const [store, spotlight] = createSpotlight();

/** Palette finds pages and actions by their names. It opens when it is mounted. */
export default function Palette({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const { org, may } = useSession();
  const navigate = useNavigate();
  const { setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  useEffect(() => {
    spotlight.open();
  }, []);

  const plus = <IconPlus size={18} stroke={1.6} aria-hidden />;
  const actions: SpotlightActionGroupData[] = [
    {
      group: t("shell.groups.pages"),
      actions: groups
        .flatMap((group) => group.items)
        .filter((item) => !item.may || may[item.may])
        .map(({ id, to, icon: Glyph }) => ({
          id,
          label: t(`shell.pages.${id}`),
          leftSection: <Glyph size={18} stroke={1.6} aria-hidden />,
          onClick: () => void navigate({ to, params: { org } }),
        })),
    },
    {
      group: t("shell.groups.actions"),
      actions: [
        ...(may.manageCredentials
          ? [
              {
                id: "bring-a-key",
                label: t("shell.pages.firstKey"),
                leftSection: plus,
                onClick: () => void navigate({ to: "/o/$org/bring-a-key", params: { org } }),
              },
            ]
          : []),
        ...(may.managePolicies
          ? [
              {
                id: "new-policy",
                label: t("shell.actions.newPolicy"),
                leftSection: plus,
                onClick: () => void navigate({ to: "/o/$org/policies/new", params: { org } }),
              },
            ]
          : []),
        ...(may.createApiKeys
          ? [
              {
                id: "new-api-key",
                label: t("shell.actions.newApiKey"),
                leftSection: plus,
                onClick: () =>
                  void navigate({ to: "/o/$org/api-keys", params: { org }, search: { create: true } }),
              },
            ]
          : []),
        {
          id: "account",
          label: t("shell.actions.changePassword"),
          leftSection: <IconUserCircle size={18} stroke={1.6} aria-hidden />,
          onClick: () => void navigate({ to: "/o/$org/account", params: { org } }),
        },
        {
          id: "sign-out",
          label: t("shell.actions.signOut"),
          leftSection: <IconLogout size={18} stroke={1.6} aria-hidden />,
          onClick: () => void sessions.signOut(org),
        },
      ],
    },
    {
      group: t("shell.organizations"),
      actions: knownOrganizations()
        .filter(({ slug }) => slug !== org)
        .map(({ slug, name }) => ({
          id: `organization-${slug}`,
          label: name,
          description: slug,
          leftSection: <IconBuilding size={18} stroke={1.6} aria-hidden />,
          onClick: () => void navigate({ to: "/o/$org", params: { org: slug } }),
        })),
    },
    {
      group: t("shell.groups.theme"),
      actions: schemes.map(({ id, icon: Glyph }) => ({
        id: `theme-${id}`,
        label: `${t("shell.theme.label")}: ${t(`shell.theme.${id}`)}`,
        leftSection: <Glyph size={18} stroke={1.6} aria-hidden />,
        onClick: () => setColorScheme(id),
      })),
    },
  ];

  return (
    <Spotlight
      store={store}
      actions={actions.filter((group) => group.actions.length > 0)}
      shortcut={null}
      highlightQuery
      scrollable
      maxHeight="min(26rem, 70vh)"
      nothingFound={t("shell.nothingFound")}
      lockScroll={false}
      title={t("shell.searchHint")}
      classNames={{ header: "visually-hidden", actionsGroup: classes.group }}
      overlayProps={{ backgroundOpacity: 0.4, blur: 0 }}
      scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}
      onSpotlightClose={onClose}
      searchProps={{
        leftSection: <IconSearch size={18} aria-hidden />,
        placeholder: t("shell.searchHint"),
        "aria-label": t("shell.searchHint"),
      }}
    />
  );
}
