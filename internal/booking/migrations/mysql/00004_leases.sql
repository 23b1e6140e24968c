-- What one booker at a time does for all: who does it, and until when unless it says so
-- again. Times are the database's.

-- +goose Up
CREATE TABLE IF NOT EXISTS leases (
    name     VARCHAR(63) NOT NULL PRIMARY KEY,
    owner    VARCHAR(64) NOT NULL,
    until_ms BIGINT      NOT NULL                     -- 0: given back
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- +goose Down
DROP TABLE leases;
