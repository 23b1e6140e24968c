-- See mysql/00011_past_lines.sql.

-- +goose Up
ALTER TABLE room_events ADD COLUMN past TEXT NOT NULL DEFAULT '';
