import { Menu, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import {
  IconCheck,
  IconDeviceDesktop,
  IconLogout,
  IconMoon,
  IconSelector,
  IconSun,
  IconUserCircle,
} from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useSession } from "@/session/context";
import { MenuGroup } from "@/shared/MenuGroup";
import { roleKey } from "@/shared/roles";
import classes from "./menus.module.css";
import { sessions } from "./sessions";

/** schemes are the choices of light and dark. */
export const schemes = [
  { id: "light", icon: IconSun },
  { id: "dark", icon: IconMoon },
  { id: "auto", icon: IconDeviceDesktop },
] as const;

/** AccountMenu says who is signed in, and holds what concerns that person. */
export function AccountMenu() {
  const { t } = useTranslation();
  const { member, org } = useSession();
  const navigate = useNavigate();
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  return (
    <Menu position="top-start" width="target">
      <Menu.Target>
        <UnstyledButton className={classes.target} aria-label={t("shell.account", { email: member.email })}>
          <IconUserCircle size={20} stroke={1.6} className={classes.quiet} aria-hidden />
          <span className={classes.words}>
            <span>{member.email}</span>
            <span className={classes.small}>{t(`shell.roles.${roleKey(member.role)}`)}</span>
          </span>
          <IconSelector size={15} className={classes.quiet} aria-hidden />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <MenuGroup label={t("shell.theme.label")}>
          {schemes.map(({ id, icon: Glyph }) => (
            <Menu.Item
              key={id}
              closeMenuOnClick={false}
              leftSection={<Glyph size={15} aria-hidden />}
              rightSection={colorScheme === id ? <IconCheck size={14} aria-hidden /> : undefined}
              aria-current={colorScheme === id || undefined}
              onClick={() => setColorScheme(id)}
            >
              {t(`shell.theme.${id}`)}
            </Menu.Item>
          ))}
        </MenuGroup>
        <Menu.Divider />
        <Menu.Item
          leftSection={<IconUserCircle size={15} aria-hidden />}
          onClick={() => void navigate({ to: "/o/$org/account", params: { org } })}
        >
          {t("shell.pages.account")}
        </Menu.Item>
        <Menu.Item
          leftSection={<IconLogout size={15} aria-hidden />}
          onClick={() => void sessions.signOut(org)}
        >
          {t("shell.actions.signOut")}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
