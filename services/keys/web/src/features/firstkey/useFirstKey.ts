import { useCallback, useEffect, useRef, useState } from "react";
import { type Provider, providers } from "@/features/credentials/providers";
import type { Draft } from "@/features/credentials/secret/draft";
import type { Taken } from "@/features/credentials/secret/SecretForm";
import { type Credential, CredentialService, type SecretWarning } from "@/gen/claviger/keys/v1/credential_pb";
import { useClient } from "@/session/context";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { useAllCredentials } from "@/shared/whole";

const [openai] = providers;

/**
 * useFirstKey is the story of a key: choose, keep, name, store, test, and replace if it is refused. The
 * secret is in one ref from the moment it is pasted until it is sent, whatever the answer is.
 */
export function useFirstKey() {
  const client = useClient(CredentialService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const secret = useRef("");
  const [step, setStep] = useState(1);
  const [provider, setProvider] = useState<Provider>(openai as Provider);
  const [shown, setShown] = useState("");
  const [draft, setDraft] = useState<Draft>([]);
  const [warnings, setWarnings] = useState<SecretWarning[]>([]);
  const [again, setAgain] = useState(false);
  const [label, setLabel] = useState("");
  const [baseUrl, setBaseUrl] = useState("");
  const [credential, setCredential] = useState<Credential>();
  const [result, setResult] = useState<{ credential: Credential; tested: boolean }>();

  const forget = useCallback(() => {
    secret.current = "";
    setShown("");
  }, []);
  useEffect(() => {
    return () => {
      secret.current = "";
    };
  }, []);

  const { items: others } = useAllCredentials(true);
  const taken = (name: string) => others?.some((other) => other.label === name) ?? false;

  const test = useAction(async (id: string) => {
    const answer = await client.testCredential({ id });
    if (answer.credential) {
      setCredential(answer.credential);
      setResult({ credential: answer.credential, tested: answer.tested });
    }
    await refresh(CredentialService);
  });

  const create = useAction(async () => {
    const sent = { provider: provider.slug, label, baseUrl, secret: secret.current, acceptTerms: true };
    forget();
    const answer = await once((idempotencyKey) => client.createCredential({ ...sent, idempotencyKey }));
    setWarnings(answer.warnings);
    await refresh(CredentialService);
    return answer.credential;
  });

  const rotate = useAction(async (id: string, etag: string, fresh: string) => {
    const answer = await once((idempotencyKey) =>
      client.rotateCredential({ id, etag, secret: fresh, idempotencyKey }),
    );
    setWarnings(answer.warnings);
    return answer.credential;
  });

  return {
    step,
    provider,
    shown,
    draft,
    warnings,
    again,
    label,
    baseUrl,
    credential,
    result,
    create,
    test,
    rotate,
    testing: test.busy,
    replacing: rotate.busy,
    taken,
    goTo: setStep,
    /** Chooses a provider. A key of another one is forgotten. */
    choose(chosen: Provider) {
      if (chosen.slug !== provider.slug) {
        forget();
        setBaseUrl("");
        setDraft([]);
        setAgain(false);
        create.clear();
      }
      setProvider(chosen);
      if (!label || label === provider.name) setLabel(chosen.name);
      setStep(2);
    },
    /** Keeps the key until it is sent. */
    keep(taken: Taken) {
      secret.current = taken.secret;
      setShown(taken.shown);
      setDraft(taken.draft);
      setAgain(false);
      setStep(3);
    },
    name(chosen: string, url: string) {
      setLabel(chosen);
      setBaseUrl(url);
      setStep(secret.current ? 4 : 2);
    },
    /** Stores the key and has it tried. */
    async store() {
      setStep(5);
      const stored = await create.run();
      if (!stored) {
        setAgain(true);
        setStep(2);
        return;
      }
      setCredential(stored);
      await test.run(stored.id);
    },
    async testAgain() {
      if (credential) await test.run(credential.id);
    },
    /** Puts another key into the stored credential, and has that tried. Says whether it was stored. */
    async replace(fresh: string): Promise<boolean> {
      if (!credential) return false;
      const changed = await rotate.run(credential.id, credential.etag, fresh);
      if (!changed) return false;
      setCredential(changed);
      await test.run(changed.id);
      return true;
    },
  };
}
