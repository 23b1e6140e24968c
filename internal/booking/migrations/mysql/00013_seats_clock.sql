-- The newest moment that a booker's clock has shown, in one row: who stood still finds by
-- it that time went on, and who starts takes the time over from those who run.

-- +goose Up
CREATE TABLE IF NOT EXISTS seats_clock (
    id       TINYINT NOT NULL PRIMARY KEY,            -- 1
    seats_ms BIGINT  NOT NULL,                        -- the moment
    there_ms BIGINT  NOT NULL                         -- the database's clock at it
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- +goose Down
DROP TABLE seats_clock;
