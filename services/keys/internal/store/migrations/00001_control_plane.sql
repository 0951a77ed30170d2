-- +goose Up

-- Times are microseconds since 1970, UTC; 0 is never. Keys lead with org_id. All changes of one
-- organization run one after the other: each locks the organization's row in audit_head first.

CREATE TABLE organization (
    id         TEXT   NOT NULL PRIMARY KEY,
    slug       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    CONSTRAINT organization_slug UNIQUE (slug)
);

CREATE TABLE member (
    org_id          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    email           TEXT   NOT NULL,
    role            TEXT   NOT NULL,
    password_hash   TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    last_sign_in_at BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT member_email UNIQUE (org_id, email)
);

CREATE TABLE session (
    org_id     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    member_id  TEXT   NOT NULL,
    -- SHA-256 of the token, which has 256 random bits.
    token_hash TEXT   NOT NULL,
    auth_at    BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    ends_at    BIGINT NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT session_token UNIQUE (token_hash)
);
CREATE INDEX session_member ON session (org_id, member_id);

CREATE TABLE credential (
    org_id        TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    provider      TEXT    NOT NULL,
    label         TEXT    NOT NULL,
    base_url      TEXT    NOT NULL,
    priority      BIGINT  NOT NULL,
    hint          TEXT    NOT NULL,
    revision      BIGINT  NOT NULL,
    -- Vault's ciphertext, bound to this row; '' if it was discarded.
    sealed        TEXT    NOT NULL,
    disabled      BOOLEAN NOT NULL,
    verdict       TEXT    NOT NULL,
    state_reason  TEXT    NOT NULL,
    state_at      BIGINT  NOT NULL,
    setbacks      BIGINT  NOT NULL,
    next_probe_at BIGINT  NOT NULL,
    created_at    BIGINT  NOT NULL,
    created_by    TEXT    NOT NULL,
    updated_at    BIGINT  NOT NULL,
    updated_by    TEXT    NOT NULL,
    version       BIGINT  NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT credential_label UNIQUE (org_id, label)
);
CREATE INDEX credential_next_probe ON credential (next_probe_at) WHERE next_probe_at > 0;

CREATE TABLE policy (
    org_id     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    targets    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT   NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT policy_name UNIQUE (org_id, name)
);

CREATE TABLE api_key (
    org_id     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    public_id  TEXT   NOT NULL,
    -- HMAC-SHA-256 of the whole key under the pepper, in hexadecimal.
    hash       TEXT   NOT NULL,
    member_id  TEXT   NOT NULL,
    policy_id  TEXT   NOT NULL,
    provenance TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT api_key_public_id UNIQUE (public_id)
);
CREATE UNIQUE INDEX api_key_live_name ON api_key (org_id, name) WHERE revoked_at = 0;
CREATE INDEX api_key_member ON api_key (org_id, member_id, id);
CREATE INDEX api_key_policy ON api_key (org_id, policy_id) WHERE revoked_at = 0;

CREATE TABLE audit_event (
    org_id     TEXT   NOT NULL,
    sequence   BIGINT NOT NULL,
    id         TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    prev_hash  TEXT   NOT NULL,
    hash       TEXT   NOT NULL,
    PRIMARY KEY (org_id, sequence)
);

CREATE TABLE audit_head (
    org_id   TEXT   NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     TEXT   NOT NULL
);

CREATE TABLE idempotency (
    org_id     TEXT   NOT NULL,
    method     TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    -- The encoded first answer, in base64, without secrets.
    response   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, method, key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

-- One row. Its lock orders all changes of the configuration: versions become visible in order.
CREATE TABLE config_version (
    one       BIGINT NOT NULL PRIMARY KEY,
    version   BIGINT NOT NULL,
    -- The changes up to this version have been forgotten.
    compacted BIGINT NOT NULL
);
INSERT INTO config_version (one, version, compacted) VALUES (1, 0, 0);

-- Which object a version touched. What it looks like is read from its own table.
CREATE TABLE config_change (
    version BIGINT NOT NULL,
    org_id  TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    PRIMARY KEY (version, org_id, id)
);

CREATE TABLE probe (
    org_id        TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    credential_id TEXT   NOT NULL,
    revision      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    -- When it was last given to a router, and how often.
    claimed_at    BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    done_at       BIGINT NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX probe_pending ON probe (claimed_at) WHERE done_at = 0;
CREATE INDEX probe_credential ON probe (org_id, credential_id);

-- The keys that verify access tokens: one per signing key in use by any replica.
CREATE TABLE token_key (
    key_id     TEXT   NOT NULL PRIMARY KEY,
    public_key TEXT   NOT NULL,
    seen_at    BIGINT NOT NULL
);
