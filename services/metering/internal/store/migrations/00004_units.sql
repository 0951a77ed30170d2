-- +goose Up

-- What is billed by something other than tokens, and what providers themselves say of the cost. Units are
-- in thousandths; NULL is unknown in usage_event, and nothing in the tables of sums. Most attempts have
-- none of this, and NULL takes no space. operation is empty for "chat".
ALTER TABLE usage_event ADD COLUMN operation TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_event ADD COLUMN unit_image BIGINT;
ALTER TABLE usage_event ADD COLUMN unit_second BIGINT;
ALTER TABLE usage_event ADD COLUMN unit_megapixel BIGINT;
ALTER TABLE usage_event ADD COLUMN unit_request BIGINT;
ALTER TABLE usage_event ADD COLUMN unit_credit BIGINT;
ALTER TABLE usage_event ADD COLUMN unit_character BIGINT;
ALTER TABLE usage_event ADD COLUMN reported_cost_nano_usd BIGINT;
-- cost_is_reported says that cost_nano_usd is what the provider says, not what a price gives.
ALTER TABLE usage_event ADD COLUMN cost_is_reported BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE usage_rollup ADD COLUMN unit_image BIGINT CHECK (unit_image BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN unit_second BIGINT CHECK (unit_second BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN unit_megapixel BIGINT CHECK (unit_megapixel BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN unit_request BIGINT CHECK (unit_request BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN unit_credit BIGINT CHECK (unit_credit BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN unit_character BIGINT CHECK (unit_character BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN reported_cost_nano_usd BIGINT CHECK (reported_cost_nano_usd BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_rollup ADD COLUMN provider_cost_nano_usd BIGINT CHECK (provider_cost_nano_usd BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN unit_image BIGINT CHECK (unit_image BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN unit_second BIGINT CHECK (unit_second BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN unit_megapixel BIGINT CHECK (unit_megapixel BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN unit_request BIGINT CHECK (unit_request BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN unit_credit BIGINT CHECK (unit_credit BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN unit_character BIGINT CHECK (unit_character BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN reported_cost_nano_usd BIGINT CHECK (reported_cost_nano_usd BETWEEN -4611686018427387904 AND 4611686018427387904);
ALTER TABLE usage_day ADD COLUMN provider_cost_nano_usd BIGINT CHECK (provider_cost_nano_usd BETWEEN -4611686018427387904 AND 4611686018427387904);

-- Tells at once whether a question has to sum those.
CREATE INDEX usage_day_rare ON usage_day (org_id, bucket) WHERE COALESCE(unit_image, unit_second, unit_megapixel, unit_request, unit_credit, unit_character, reported_cost_nano_usd, provider_cost_nano_usd) IS NOT NULL;

-- Rates per unit, as JSON; tiers may be empty then. reported says that the provider's own statement holds.
ALTER TABLE price ADD COLUMN units TEXT NOT NULL DEFAULT '[]';
ALTER TABLE price ADD COLUMN reported BOOLEAN NOT NULL DEFAULT FALSE;
