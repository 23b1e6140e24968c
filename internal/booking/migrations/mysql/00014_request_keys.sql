-- What was asked for under an Idempotency-Key, and what it came to; kept for a day.

-- +goose Up
CREATE TABLE IF NOT EXISTS request_keys (
    id        BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    admission VARCHAR(100)  NOT NULL,
    word      VARCHAR(64)   NOT NULL,                 -- the key itself
    request   CHAR(43)      NOT NULL,                 -- SHA-256 of what was asked for
    came_to   VARCHAR(16)   NOT NULL,                 -- done, or why not
    hold      VARCHAR(16)   NOT NULL,                 -- '' for a refusal
    made_ms   BIGINT        NOT NULL,
    UNIQUE KEY request_keys_once (admission, word),
    KEY request_keys_made (made_ms)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- +goose Down
DROP TABLE IF EXISTS request_keys;
