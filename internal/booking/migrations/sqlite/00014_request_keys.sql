-- The table of mysql/00014_request_keys.sql, whose comments hold here too.

-- +goose Up
CREATE TABLE IF NOT EXISTS request_keys (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    admission TEXT    NOT NULL,
    word      TEXT    NOT NULL,
    request   TEXT    NOT NULL,
    came_to   TEXT    NOT NULL,
    hold      TEXT    NOT NULL,
    made_ms   INTEGER NOT NULL,
    UNIQUE (admission, word)
) STRICT;
CREATE INDEX IF NOT EXISTS request_keys_made ON request_keys (made_ms);

-- +goose Down
DROP TABLE IF EXISTS request_keys;
