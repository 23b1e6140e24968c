-- The table of mysql/00002_room_events.sql, whose comments hold here too. With a
-- rowid, and the logo last: a read of the other columns then passes it over.

-- +goose Up
CREATE TABLE room_events (
    room       TEXT    NOT NULL PRIMARY KEY,
    epoch      TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    rev        INTEGER NOT NULL,
    gone_ms    INTEGER NOT NULL,
    told       INTEGER NOT NULL,
    title      TEXT    NOT NULL,
    venue      TEXT    NOT NULL,
    starts_ms  INTEGER NOT NULL,
    accent     TEXT    NOT NULL,
    logo       BLOB    NOT NULL
) STRICT;

-- +goose Down
DROP TABLE room_events;
