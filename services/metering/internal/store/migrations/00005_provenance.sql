-- +goose Up

-- What the router said of an attempt besides: the revision of the credential's secret, the group of the API
-- key (empty is none), and what it reckoned that the attempt costs, which is what its caller was told. Our own
-- cost_nano_usd and price_id are what counts. 0, empty and NULL are what older routers did not say.
ALTER TABLE usage_event ADD COLUMN credential_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_event ADD COLUMN group_id TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_event ADD COLUMN router_cost_nano_usd BIGINT;
ALTER TABLE usage_event ADD COLUMN router_price_id TEXT NOT NULL DEFAULT '';
