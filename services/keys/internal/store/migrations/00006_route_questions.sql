-- +goose Up

-- What routers are asked about routes. A row lives for the seconds that somebody waits for its answer.
CREATE TABLE route_question (
    org_id     TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    api_key_id TEXT    NOT NULL,
    -- All is told; else what the API key would be.
    whole      BOOLEAN NOT NULL,
    -- The request, encoded, in base64.
    request    TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    claimed_at BIGINT  NOT NULL,
    -- 0 while it waits.
    done_at    BIGINT  NOT NULL,
    router     TEXT    NOT NULL,
    -- The route, encoded, in base64; '' if it was refused.
    route      TEXT    NOT NULL,
    -- The refusal as JSON; '' is none.
    refusal    TEXT    NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX route_question_waiting ON route_question (claimed_at) WHERE done_at = 0;
