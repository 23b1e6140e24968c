-- What changed on each room's map, for the bookers that show it: one row per
-- transaction, written while it holds the seats, so that of two rows that name the
-- same seat the one with the greater id is the later. Kept for minutes. What is not
-- in it, an older booker's work, is found by reading the seats.

-- +goose Up
CREATE TABLE IF NOT EXISTS seat_log (
    id      BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    room    VARCHAR(63)   NOT NULL,
    at_ms   BIGINT        NOT NULL,
    changes VARCHAR(8000) NOT NULL                    -- A-1=held,A-2=free
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- +goose Down
DROP TABLE IF EXISTS seat_log;
