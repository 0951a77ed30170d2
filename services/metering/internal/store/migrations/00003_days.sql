-- +goose Up

-- Sums per day in UTC, of the same dimensions as usage_rollup and always equal to its sums. A busy
-- organization has nearly as many quarters of an hour as attempts, and a tenth of it in days: questions
-- over months read these, and usage_rollup for what is left at both ends. What an old version applies
-- while this runs is missing until the first worker of a new version settles it.
CREATE TABLE usage_day (
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
INSERT INTO usage_day (
    org_id, bucket, api_key_id, member_id, credential_id, credential_class, provider, model, policy_id, tagset_id,
    requests, attempts, errors, input_total, input_uncached, cache_read, cache_write_5m, cache_write_30m,
    cache_write_1h, cache_write_12h, output_total, reasoning, audio_in, audio_out, image_in, image_out,
    cost_nano_usd, unknown_cost_attempts, estimated_attempts, estimated_cost_nano_usd
  ) SELECT
    org_id, bucket - bucket % 86400000000, api_key_id, member_id, credential_id, credential_class, provider, model,
    policy_id, tagset_id, SUM(requests), SUM(attempts), SUM(errors), SUM(input_total), SUM(input_uncached),
    SUM(cache_read), SUM(cache_write_5m), SUM(cache_write_30m), SUM(cache_write_1h), SUM(cache_write_12h),
    SUM(output_total), SUM(reasoning), SUM(audio_in), SUM(audio_out), SUM(image_in), SUM(image_out),
    SUM(cost_nano_usd), SUM(unknown_cost_attempts), SUM(estimated_attempts), SUM(estimated_cost_nano_usd)
  FROM usage_rollup
  GROUP BY org_id, bucket - bucket % 86400000000, api_key_id, member_id, credential_id, credential_class, provider, model, policy_id, tagset_id;
