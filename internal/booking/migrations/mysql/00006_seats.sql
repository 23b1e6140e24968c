-- Names with a section, and what a seat costs in minor units of a currency.

-- +goose Up
ALTER TABLE seats
    MODIFY COLUMN id     VARCHAR(24) NOT NULL,
    ADD COLUMN amount    BIGINT      NOT NULL DEFAULT 0,
    ADD COLUMN currency  VARCHAR(3)  NOT NULL DEFAULT '';
