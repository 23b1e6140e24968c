-- The shop's facts on their way to Kafka, as the bytes that are published: whoever
-- carries a row need not understand it. The table outbox of before stays, for bookers
-- that are one version older; what they leave in it is carried too.

-- +goose Up
CREATE TABLE IF NOT EXISTS facts (
    id      BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    topic   VARCHAR(100)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    spread  BIGINT         NOT NULL,                  -- of msg_key; its rest by the number of partitions is the partition
    msg_key VARBINARY(100) NOT NULL,
    headers BLOB           NOT NULL,                  -- a JSON object of texts
    payload MEDIUMBLOB     NOT NULL,
    at_ms   BIGINT         NOT NULL                   -- the fact's own time, on the seats' clock
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- +goose Down
DROP TABLE facts;
