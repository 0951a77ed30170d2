-- +goose Up

-- A policy has the version that serves, 0 if none was published, and a draft beside it. Rules are JSON
-- text, '' where there is none. revision counts all changes, those of the draft too.
ALTER TABLE policy ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE policy ADD COLUMN spec TEXT NOT NULL DEFAULT '';
ALTER TABLE policy ADD COLUMN draft TEXT NOT NULL DEFAULT '';
ALTER TABLE policy ADD COLUMN published_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE policy ADD COLUMN published_by TEXT NOT NULL DEFAULT '';

-- What was there is a published rule of one group.
UPDATE policy SET revision = version, spec = '{"groups":[{"targets":' || targets || '}]}', published_at = updated_at, published_by = updated_by;
ALTER TABLE policy DROP COLUMN targets;

-- Versions never change. They go with their policy.
CREATE TABLE policy_version (
    org_id         TEXT   NOT NULL,
    policy_id      TEXT   NOT NULL,
    version        BIGINT NOT NULL,
    spec           TEXT   NOT NULL,
    published_at   BIGINT NOT NULL,
    published_by   TEXT   NOT NULL,
    -- The version that it repeats, 0 if it is new.
    rolled_back_to BIGINT NOT NULL,
    PRIMARY KEY (org_id, policy_id, version)
);
INSERT INTO policy_version (org_id, policy_id, version, spec, published_at, published_by, rolled_back_to)
SELECT org_id, id, version, spec, published_at, published_by, 0 FROM policy;

-- What the versions that serve name: "policy/<name>", a credential, a group. So what is named is found
-- without reading all rules. The rules of before named nothing.
CREATE TABLE policy_reference (
    org_id    TEXT NOT NULL,
    target    TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    PRIMARY KEY (org_id, target, policy_id)
);
CREATE INDEX policy_reference_policy ON policy_reference (org_id, policy_id);

CREATE TABLE key_group (
    org_id          TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    policy_id       TEXT    NOT NULL,
    enforce_policy  BOOLEAN NOT NULL,
    -- A JSON list of patterns, '' for none.
    approved_models TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    version         BIGINT  NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT key_group_name UNIQUE (org_id, name)
);
CREATE INDEX key_group_policy ON key_group (org_id, policy_id);

ALTER TABLE api_key ADD COLUMN group_id TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN enforce_policy BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE api_key ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
CREATE INDEX api_key_group ON api_key (org_id, group_id) WHERE revoked_at = 0;

-- What holds for all requests of an organization: preferences and approved models, each JSON text with
-- its own count of changes; '' is none.
ALTER TABLE organization ADD COLUMN preferences TEXT NOT NULL DEFAULT '';
ALTER TABLE organization ADD COLUMN preferences_version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE organization ADD COLUMN approved_models TEXT NOT NULL DEFAULT '';
ALTER TABLE organization ADD COLUMN approved_version BIGINT NOT NULL DEFAULT 1;
