-- The table of mysql/00003_facts.sql, whose comments hold here too.

-- +goose Up
CREATE TABLE IF NOT EXISTS facts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    topic   TEXT    NOT NULL,
    spread  INTEGER NOT NULL,
    msg_key BLOB    NOT NULL,
    headers BLOB    NOT NULL,
    payload BLOB    NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE facts;
