-- The table of mysql/00010_seat_log.sql, whose comments hold here too.

-- +goose Up
CREATE TABLE IF NOT EXISTS seat_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    room    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    changes TEXT    NOT NULL
) STRICT;

-- +goose Down
DROP TABLE IF EXISTS seat_log;
