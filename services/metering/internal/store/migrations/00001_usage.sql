-- +goose Up

-- One row per attempt. The day is that of the attempt's id and never changes, so the key is unique for
-- ever, also once the table is split by day. Times are microseconds since 1970, money is nano-USD,
-- NULL is unknown.
CREATE TABLE usage_event (
  org_id TEXT NOT NULL,
  day BIGINT NOT NULL,
  attempt_id TEXT NOT NULL,
  revision BIGINT NOT NULL,
  request_id TEXT NOT NULL,
  attempt_number BIGINT NOT NULL,
  api_key_id TEXT NOT NULL DEFAULT '',
  member_id TEXT NOT NULL DEFAULT '',
  credential_id TEXT NOT NULL DEFAULT '',
  credential_class TEXT NOT NULL DEFAULT '',
  provider TEXT NOT NULL DEFAULT '',
  model TEXT NOT NULL DEFAULT '',
  response_model TEXT NOT NULL DEFAULT '',
  requested_model TEXT NOT NULL DEFAULT '',
  policy_id TEXT NOT NULL DEFAULT '',
  policy_version BIGINT NOT NULL DEFAULT 0,
  target_index BIGINT NOT NULL DEFAULT 0,
  config_version BIGINT NOT NULL DEFAULT 0,
  dialect TEXT NOT NULL DEFAULT '',
  streamed BOOLEAN NOT NULL DEFAULT FALSE,
  tagset_id TEXT NOT NULL DEFAULT '',
  session TEXT NOT NULL DEFAULT '',
  end_user TEXT NOT NULL DEFAULT '',
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  duration_micros BIGINT NOT NULL DEFAULT 0,
  first_content_micros BIGINT NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL DEFAULT '',
  error_class TEXT NOT NULL DEFAULT '',
  http_status BIGINT NOT NULL DEFAULT 0,
  finish_reason TEXT NOT NULL DEFAULT '',
  usage_source TEXT NOT NULL DEFAULT '',
  input_total BIGINT,
  input_uncached BIGINT,
  cache_read BIGINT,
  cache_write_5m BIGINT,
  cache_write_30m BIGINT,
  cache_write_1h BIGINT,
  cache_write_12h BIGINT,
  output_total BIGINT,
  reasoning BIGINT,
  audio_in BIGINT,
  audio_out BIGINT,
  image_in BIGINT,
  image_out BIGINT,
  cost_nano_usd BIGINT,
  price_id TEXT NOT NULL DEFAULT '',
  provider_request_id TEXT NOT NULL DEFAULT '',
  trace_id TEXT NOT NULL DEFAULT '',
  flags TEXT NOT NULL DEFAULT '',
  applied_at BIGINT NOT NULL,
  PRIMARY KEY (org_id, day, attempt_id)
);
CREATE INDEX usage_event_request ON usage_event (org_id, request_id);
CREATE INDEX usage_event_ended ON usage_event (org_id, ended_at, attempt_id);
CREATE INDEX usage_event_member ON usage_event (org_id, member_id, ended_at, attempt_id);

-- Sums per quarter of an hour. They always equal the sums over usage_event: both change in one
-- transaction. The bounds keep a sum from ever leaving 63 bits, where the engines differ in what
-- happens; what would break them goes to quarantine. They hold for a difference too, which may be below
-- zero: Postgres checks the row that is to be added before it looks for the one that is there.
CREATE TABLE usage_rollup (
  org_id TEXT NOT NULL,
  bucket BIGINT NOT NULL,
  api_key_id TEXT NOT NULL DEFAULT '',
  member_id TEXT NOT NULL DEFAULT '',
  credential_id TEXT NOT NULL DEFAULT '',
  credential_class TEXT NOT NULL DEFAULT '',
  provider TEXT NOT NULL DEFAULT '',
  model TEXT NOT NULL DEFAULT '',
  policy_id TEXT NOT NULL DEFAULT '',
  tagset_id TEXT NOT NULL DEFAULT '',
  requests BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  input_total BIGINT NOT NULL CHECK (input_total BETWEEN -4611686018427387904 AND 4611686018427387904),
  input_uncached BIGINT NOT NULL CHECK (input_uncached BETWEEN -4611686018427387904 AND 4611686018427387904),
  cache_read BIGINT NOT NULL CHECK (cache_read BETWEEN -4611686018427387904 AND 4611686018427387904),
  cache_write_5m BIGINT NOT NULL CHECK (cache_write_5m BETWEEN -4611686018427387904 AND 4611686018427387904),
  cache_write_30m BIGINT NOT NULL CHECK (cache_write_30m BETWEEN -4611686018427387904 AND 4611686018427387904),
  cache_write_1h BIGINT NOT NULL CHECK (cache_write_1h BETWEEN -4611686018427387904 AND 4611686018427387904),
  cache_write_12h BIGINT NOT NULL CHECK (cache_write_12h BETWEEN -4611686018427387904 AND 4611686018427387904),
  output_total BIGINT NOT NULL CHECK (output_total BETWEEN -4611686018427387904 AND 4611686018427387904),
  reasoning BIGINT NOT NULL CHECK (reasoning BETWEEN -4611686018427387904 AND 4611686018427387904),
  audio_in BIGINT NOT NULL CHECK (audio_in BETWEEN -4611686018427387904 AND 4611686018427387904),
  audio_out BIGINT NOT NULL CHECK (audio_out BETWEEN -4611686018427387904 AND 4611686018427387904),
  image_in BIGINT NOT NULL CHECK (image_in BETWEEN -4611686018427387904 AND 4611686018427387904),
  image_out BIGINT NOT NULL CHECK (image_out BETWEEN -4611686018427387904 AND 4611686018427387904),
  cost_nano_usd BIGINT NOT NULL CHECK (cost_nano_usd BETWEEN -4611686018427387904 AND 4611686018427387904),
  unknown_cost_attempts BIGINT NOT NULL,
  estimated_attempts BIGINT NOT NULL,
  estimated_cost_nano_usd BIGINT NOT NULL,
  PRIMARY KEY (org_id, bucket, api_key_id, member_id, credential_id, credential_class, provider, model, policy_id, tagset_id)
);

-- Tags: a set is stored once, and each of its tags once, for grouping and filtering.
CREATE TABLE tagset (
  org_id TEXT NOT NULL,
  tagset_id TEXT NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (org_id, tagset_id)
);
CREATE TABLE tagset_tag (
  org_id TEXT NOT NULL,
  tag_key TEXT NOT NULL,
  tagset_id TEXT NOT NULL,
  tag_value TEXT NOT NULL,
  PRIMARY KEY (org_id, tag_key, tagset_id)
);
CREATE INDEX tagset_tag_value ON tagset_tag (org_id, tag_key, tag_value, tagset_id);

-- Which sequence numbers of a router are dealt with: all up to contiguous, and the ranges above it.
CREATE TABLE spool_mark (
  router TEXT NOT NULL,
  epoch TEXT NOT NULL,
  partition_id BIGINT NOT NULL,
  contiguous BIGINT NOT NULL,
  ranges TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (router, epoch, partition_id)
);

-- What is known of each router: its newest heartbeat and how far it is applied.
CREATE TABLE spool_router (
  router TEXT PRIMARY KEY,
  head_at BIGINT NOT NULL,
  heads TEXT NOT NULL,
  heard_at BIGINT NOT NULL,
  complete_at BIGINT NOT NULL,
  closing BOOLEAN NOT NULL,
  gone BOOLEAN NOT NULL
);

-- How far a stream is applied. The database owns the position, not the broker.
CREATE TABLE stream_position (
  stream TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);

-- Events that name something under a configuration newer than ours, until it has come.
CREATE TABLE usage_waiting (
  org_id TEXT NOT NULL,
  attempt_id TEXT NOT NULL,
  revision BIGINT NOT NULL,
  router TEXT NOT NULL,
  epoch TEXT NOT NULL,
  partition_id BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  entry BYTEA NOT NULL,
  since BIGINT NOT NULL,
  PRIMARY KEY (org_id, attempt_id, revision)
);
CREATE INDEX usage_waiting_since ON usage_waiting (since);

-- What came and is not counted, with the reason. The id is made from the content, so the same thing is
-- kept once.
CREATE TABLE usage_quarantine (
  id TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  subject TEXT NOT NULL,
  payload BYTEA NOT NULL,
  is_entry BOOLEAN NOT NULL,
  org_id TEXT NOT NULL DEFAULT '',
  attempt_id TEXT NOT NULL DEFAULT '',
  router TEXT NOT NULL DEFAULT '',
  epoch TEXT NOT NULL DEFAULT '',
  partition_id BIGINT NOT NULL DEFAULT 0,
  sequence BIGINT NOT NULL DEFAULT 0,
  received_at BIGINT NOT NULL,
  seen BIGINT NOT NULL
);
CREATE INDEX usage_quarantine_received ON usage_quarantine (received_at);

-- The price book. Rows are added and never changed.
CREATE TABLE price (
  id TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  valid_from BIGINT NOT NULL,
  tiers TEXT NOT NULL,
  source TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (model, valid_from)
);

-- Answers to changing calls, so that a retry gets the first one.
CREATE TABLE idempotency (
  org_id TEXT NOT NULL,
  method TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  digest TEXT NOT NULL,
  result TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (org_id, method, idempotency_key)
);
