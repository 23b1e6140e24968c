-- What each room's sale is for, as Kafka's topic waitroom.rooms says. One row per
-- room; the row of a deleted room stays for --keep, since whoever was let in may
-- still shop.

-- +goose Up
CREATE TABLE room_events (
    room       VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    epoch      VARCHAR(8)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_ms BIGINT       NOT NULL,                 -- of the line; with rev it says which is newer
    rev        BIGINT       NOT NULL,
    gone_ms    BIGINT       NOT NULL,                 -- when the room's tombstone came; 0: it is there
    told       BIGINT       NOT NULL,                 -- +1 per write: who keeps the row in memory reads it again
    title      VARCHAR(120) NOT NULL,
    venue      VARCHAR(120) NOT NULL,
    starts_ms  BIGINT       NOT NULL,                 -- 0: not told
    accent     VARCHAR(7)   NOT NULL,
    logo       BLOB         NOT NULL                  -- at most 32 KB
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- +goose Down
DROP TABLE room_events;
