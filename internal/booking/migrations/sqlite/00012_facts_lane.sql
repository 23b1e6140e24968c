-- See mysql/00012_facts_lane.sql.

-- +goose Up
ALTER TABLE facts ADD COLUMN lane TEXT NOT NULL DEFAULT '';
CREATE INDEX facts_lane ON facts (lane, id);
