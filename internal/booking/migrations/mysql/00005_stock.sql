-- The counter tells the line what is left: rev goes up in every transaction that changes
-- seats or booked, told_* is what a fact said last, and plan goes up when seats are added.

-- +goose Up
ALTER TABLE stock
    ADD COLUMN rev       BIGINT     NOT NULL DEFAULT 0,
    ADD COLUMN told_rev  BIGINT     NOT NULL DEFAULT 0,
    ADD COLUMN told_left BIGINT     NOT NULL DEFAULT -1, -- -1: never told
    ADD COLUMN told_ms   BIGINT     NOT NULL DEFAULT 0,
    ADD COLUMN epoch     VARCHAR(8) NOT NULL DEFAULT '', -- of the line that was told
    ADD COLUMN plan      BIGINT     NOT NULL DEFAULT 0;
