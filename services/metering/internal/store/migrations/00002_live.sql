-- +goose Up

-- The span of the attempt, so that the trace of a request can be told from others with the same trace id.
ALTER TABLE usage_event ADD COLUMN span_id TEXT NOT NULL DEFAULT '';

-- The place of the attempt among those of its organization, in the order of being counted: who watches
-- reads on from the last number seen. Numbers of one organization are given out in a transaction that
-- holds its row of usage_counter until the commit, so whoever sees a number sees all below it. Numbers
-- may be left out; a revision gets a new one. 0 is what was counted before there were numbers.
ALTER TABLE usage_event ADD COLUMN counted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX usage_event_counted ON usage_event (org_id, counted) WHERE counted > 0;
CREATE TABLE usage_counter (
  org_id TEXT NOT NULL,
  counted BIGINT NOT NULL,
  PRIMARY KEY (org_id)
);

-- When an API key or a credential was last used, by member: a member may see their own uses alone. An old
-- version that still applies usage while this runs leaves out its last batches; Rebuild puts them in.
CREATE TABLE last_use (
  org_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  member_id TEXT NOT NULL,
  last_time BIGINT NOT NULL,
  PRIMARY KEY (org_id, kind, id, member_id)
);
INSERT INTO last_use (org_id, kind, id, member_id, last_time)
  SELECT org_id, 'api_key', api_key_id, member_id, MAX(ended_at) FROM usage_event WHERE api_key_id <> '' GROUP BY org_id, api_key_id, member_id
  UNION ALL
  SELECT org_id, 'credential', credential_id, member_id, MAX(ended_at) FROM usage_event WHERE credential_id <> '' GROUP BY org_id, credential_id, member_id;
