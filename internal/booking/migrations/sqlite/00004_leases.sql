-- The table of mysql/00004_leases.sql, whose comments hold here too.

-- +goose Up
CREATE TABLE IF NOT EXISTS leases (
    name     TEXT    NOT NULL PRIMARY KEY,
    owner    TEXT    NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE leases;
