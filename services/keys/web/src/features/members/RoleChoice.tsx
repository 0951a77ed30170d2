import "@/strings/late/members";
import { useId } from "react";
import { useTranslation } from "react-i18next";
import { Role } from "@/gen/claviger/options/v1/options_pb";
import { roleKey } from "@/shared/roles";
import classes from "./RoleChoice.module.css";

const order = [Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER];

/** RoleChoice offers the roles with what each may do. */
export function RoleChoice({
  legend,
  value,
  onChange,
  without = [],
}: {
  legend: string;
  value: Role;
  onChange: (role: Role) => void;
  without?: readonly Role[];
}) {
  const { t } = useTranslation();
  const id = useId();
  return (
    <fieldset className={classes.choices}>
      <legend className={classes.legend}>{legend}</legend>
      {order
        .filter((role) => !without.includes(role))
        .map((role) => (
          <label key={role} className={classes.choice}>
            <input
              type="radio"
              name="role"
              aria-label={t(`shell.roles.${roleKey(role)}`)}
              aria-describedby={`${id}${role}`}
              checked={value === role}
              onChange={() => onChange(role)}
            />
            <span>
              <span className={classes.name}>{t(`shell.roles.${roleKey(role)}`)}</span>
              <span className={classes.what} id={`${id}${role}`}>
                {t(`members.roles.${roleKey(role)}`)}
              </span>
            </span>
          </label>
        ))}
    </fieldset>
  );
}
