-- +goose Up

-- What a credential may be used for, and for how long. The version before leaves them as they are: a share of
-- one, no narrowing ('' or a JSON object), no end.
ALTER TABLE credential ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
ALTER TABLE credential ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE credential ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0;
-- That its time is up has been noted.
ALTER TABLE credential ADD COLUMN expired BOOLEAN NOT NULL DEFAULT FALSE;
-- What is held against the secret that tests have not confirmed, as JSON; '' is nothing.
ALTER TABLE credential ADD COLUMN doubt TEXT NOT NULL DEFAULT '';

-- A second secret, and what is known of the one before. The highest revision that any secret had is never used
-- again; 0 is revision.
ALTER TABLE credential ADD COLUMN last_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credential ADD COLUMN next TEXT NOT NULL DEFAULT '';
-- Vault's ciphertext, bound to this row and to next_revision; '' and 0 if there is none.
ALTER TABLE credential ADD COLUMN next_sealed TEXT NOT NULL DEFAULT '';
ALTER TABLE credential ADD COLUMN next_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credential ADD COLUMN previous TEXT NOT NULL DEFAULT '';
ALTER TABLE credential ADD COLUMN previous_version BIGINT NOT NULL DEFAULT 0;

-- When it expires or its second secret has to be tested, whichever is first; 0 is never.
ALTER TABLE credential ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX credential_due ON credential (due_at) WHERE due_at > 0;

-- When a secret was last used for a request.
CREATE TABLE secret_use (
    org_id        TEXT   NOT NULL,
    credential_id TEXT   NOT NULL,
    revision      BIGINT NOT NULL,
    used_at       BIGINT NOT NULL,
    PRIMARY KEY (org_id, credential_id, revision)
);
