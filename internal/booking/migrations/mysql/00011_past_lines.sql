-- The epochs of a room's earlier lines: a pass of one opens nothing new.

-- +goose Up
ALTER TABLE room_events
    ADD COLUMN past VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '';
