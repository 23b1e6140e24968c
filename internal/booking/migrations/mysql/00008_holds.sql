-- Names with a section, what the seats cost together, and whether it had more time.

-- +goose Up
ALTER TABLE holds
    MODIFY COLUMN seats VARCHAR(2000) NOT NULL,
    ADD COLUMN amount   BIGINT        NOT NULL DEFAULT 0,
    ADD COLUMN currency VARCHAR(3)    NOT NULL DEFAULT '',
    ADD COLUMN extended TINYINT       NOT NULL DEFAULT 0;
