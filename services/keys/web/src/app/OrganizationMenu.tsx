import { Menu, UnstyledButton } from "@mantine/core";
import { IconCheck, IconPlus, IconSelector } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useSession } from "@/session/context";
import { knownOrganizations } from "@/session/known";
import { MenuGroup } from "@/shared/MenuGroup";
import classes from "./menus.module.css";

/** OrganizationMenu says which organization it is, and switches to another one. */
export function OrganizationMenu() {
  const { t } = useTranslation();
  const { organization, org } = useSession();
  const navigate = useNavigate();
  return (
    <Menu position="bottom-start" width="target">
      <Menu.Target>
        <UnstyledButton
          className={classes.target}
          aria-label={t("shell.organization", { name: organization.name })}
        >
          <span className={classes.mark} aria-hidden>
            {organization.name.trim().charAt(0).toLocaleUpperCase()}
          </span>
          <span className={classes.words}>
            <span className={classes.strong}>{organization.name}</span>
          </span>
          <IconSelector size={15} className={classes.quiet} aria-hidden />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <MenuGroup label={t("shell.organizations")}>
          {knownOrganizations().map(({ slug, name }) => (
            <Menu.Item
              key={slug}
              rightSection={slug === org ? <IconCheck size={14} aria-hidden /> : undefined}
              aria-current={slug === org || undefined}
              onClick={() => void navigate({ to: "/o/$org", params: { org: slug } })}
            >
              {name}
              <span className={classes.slug}>{slug}</span>
            </Menu.Item>
          ))}
        </MenuGroup>
        <Menu.Divider />
        <Menu.Item
          leftSection={<IconPlus size={15} aria-hidden />}
          onClick={() => void navigate({ to: "/sign-in" })}
        >
          {t("shell.addOrganization")}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
