import "@/strings/late/secret";
import { useTranslation } from "react-i18next";
import type { Credential } from "@/gen/claviger/keys/v1/credential_pb";
import { Status } from "@/shared/Status";
import { Time } from "@/shared/Time";
import classes from "./Details.module.css";
import { providerOf } from "./providers";
import { reasonParts, stateOf } from "./state";

/** Details are what may be known of a credential: all but its secrets, which are masked one by one. */
export function Details({ credential }: { credential: Credential }) {
  const { t } = useTranslation();
  const { key, tone } = stateOf(credential.state);
  const { what, next } = reasonParts(credential.stateReason);
  const settings = credential.settings;
  const facts: [string, React.ReactNode][] = [
    [t("secret.details.provider"), providerOf(credential.provider).name],
    [t("secret.details.address"), credential.baseUrl],
    [t("secret.details.region"), settings?.region],
    [t("secret.details.project"), settings?.project],
    [t("secret.details.location"), settings?.location],
    [t("secret.details.account"), settings?.clientEmail],
    [t("secret.details.key"), !settings?.secrets.length && credential.hint && <code>{credential.hint}</code>],
    [
      t("secret.details.state"),
      <>
        <Status tone={tone}>{t(`credentials.states.${key}`)}</Status>
        {what && <span className={classes.reason}>{what}</span>}
        {next && <span className={classes.reason}>{next}</span>}
      </>,
    ],
    [t("secret.details.decided"), credential.stateTime && <Time value={credential.stateTime} />],
  ];
  return (
    <div className={classes.details}>
      <dl className={classes.facts}>
        {facts.map(
          ([name, value]) =>
            value && (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ),
        )}
      </dl>
      {settings && settings.deployments.length > 0 && (
        <section>
          <h3>{t("secret.details.deployments")}</h3>
          <ul className={classes.list}>
            {settings.deployments.map((deployment, i) => (
              <li key={`${deployment.modelSlug} ${deployment.endpointUrl} ${deployment.modelId}`}>
                <b>{deployment.modelSlug}</b> <span>{deployment.modelId}</span>{" "}
                <code>{settings.secrets[i]?.hint}</code>
                <span className={classes.reason}>{deployment.endpointUrl}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
      {settings && settings.deployments.length === 0 && settings.secrets.length > 0 && (
        <section>
          <h3>{t("secret.details.secrets")}</h3>
          <ul className={classes.list}>
            {settings.secrets.map(({ field, hint }) => (
              <li key={field}>
                <code>{field}</code> <code>{hint}</code>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section>
        <h3>{t("secret.details.models")}</h3>
        {credential.models.length === 0 ? (
          <p className={classes.reason}>{t("secret.details.modelsUnknown")}</p>
        ) : (
          <details>
            <summary>{t("secret.details.modelsCount", { count: credential.models.length })}</summary>
            <ul className={classes.models}>
              {credential.models.map((model) => (
                <li key={model}>{model}</li>
              ))}
            </ul>
          </details>
        )}
      </section>
    </div>
  );
}
