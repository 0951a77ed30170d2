-- +goose Up

-- What routers said last. One row per router's name; they belong to the installation, to no organization.
CREATE TABLE router_state (
    name            TEXT    NOT NULL PRIMARY KEY,
    -- One run of the router's process.
    epoch           TEXT    NOT NULL,
    applied_version BIGINT  NOT NULL,
    -- The answers that it ended within the last minute, as JSON; '' is none.
    cuts            TEXT    NOT NULL,
    -- It said that it goes away.
    closed          BOOLEAN NOT NULL,
    -- It counts as connected until then, unless it is closed.
    lease_until     BIGINT  NOT NULL,
    seen_at         BIGINT  NOT NULL
);

-- What was switched off together with the answers that it gave or was given. The version before leaves it out,
-- which ends none.
ALTER TABLE credential ADD COLUMN cut BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE api_key ADD COLUMN cut BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE config_change ADD COLUMN cut BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX config_change_cut ON config_change (version) WHERE cut;

-- The last that each router was told of a provider's limits. A number is 0 where nothing was told.
CREATE TABLE headroom (
    org_id             TEXT    NOT NULL,
    -- The credential's id and a digest of model and router: it orders pages.
    id                 TEXT    NOT NULL,
    credential_id      TEXT    NOT NULL,
    model              TEXT    NOT NULL,
    router             TEXT    NOT NULL,
    at                 BIGINT  NOT NULL,
    has_requests       BOOLEAN NOT NULL,
    requests_limit     BIGINT  NOT NULL,
    requests_remaining BIGINT  NOT NULL,
    requests_reset_at  BIGINT  NOT NULL,
    has_tokens         BOOLEAN NOT NULL,
    tokens_limit       BIGINT  NOT NULL,
    tokens_remaining   BIGINT  NOT NULL,
    tokens_reset_at    BIGINT  NOT NULL,
    cooling_until      BIGINT  NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX headroom_at ON headroom (at);

CREATE TABLE drill (
    org_id        TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    credential_id TEXT    NOT NULL,
    api_key_id    TEXT    NOT NULL,
    fault         TEXT    NOT NULL,
    started_at    BIGINT  NOT NULL,
    -- When it ends, or was stopped.
    ends_at       BIGINT  NOT NULL,
    started_by    TEXT    NOT NULL,
    -- Routers are told of it.
    running       BOOLEAN NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE UNIQUE INDEX drill_running ON drill (org_id, credential_id, api_key_id) WHERE running;
CREATE INDEX drill_over ON drill (ends_at) WHERE running;

-- What came of a drill at one run of one router, counted from its beginning there: the last of it counts.
CREATE TABLE drill_report (
    org_id       TEXT   NOT NULL,
    drill_id     TEXT   NOT NULL,
    router       TEXT   NOT NULL,
    epoch        TEXT   NOT NULL,
    requests     BIGINT NOT NULL,
    failed_calls BIGINT NOT NULL,
    unserved     BIGINT NOT NULL,
    -- Who served the others, as JSON; '' is nobody.
    served       TEXT   NOT NULL,
    PRIMARY KEY (org_id, drill_id, router, epoch)
);
