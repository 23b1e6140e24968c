-- The table of mysql/00013_seats_clock.sql, whose comments hold here too.

-- +goose Up
CREATE TABLE IF NOT EXISTS seats_clock (
    id       INTEGER NOT NULL PRIMARY KEY,
    seats_ms INTEGER NOT NULL,
    there_ms INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE seats_clock;
