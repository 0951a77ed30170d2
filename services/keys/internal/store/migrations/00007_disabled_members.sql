-- +goose Up

-- When a member was disabled, 0 for not. The version before lets them sign in again.
ALTER TABLE member ADD COLUMN disabled_at BIGINT NOT NULL DEFAULT 0;
-- The API key's member is disabled. It stands here, too, so that what routers are told is read from one row.
ALTER TABLE api_key ADD COLUMN suspended BOOLEAN NOT NULL DEFAULT FALSE;
