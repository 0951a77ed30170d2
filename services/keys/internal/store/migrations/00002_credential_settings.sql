-- +goose Up

-- What of a secret is not one, as JSON, and what the last test found that it may use, as a JSON list.
-- Both are '' where there is nothing; the version before leaves them so.
ALTER TABLE credential ADD COLUMN settings TEXT NOT NULL DEFAULT '';
ALTER TABLE credential ADD COLUMN models TEXT NOT NULL DEFAULT '';
