-- What a plan says of a seat beside its price, and room for the state blocked, with what the
-- operator said to it. An older booker takes a blocked seat for one that is taken.

-- +goose Up
ALTER TABLE seats
    MODIFY COLUMN state    VARCHAR(10)  NOT NULL,            -- free, held, booked, blocked
    ADD COLUMN category    VARCHAR(32)  NOT NULL DEFAULT '',
    ADD COLUMN unnumbered  TINYINT      NOT NULL DEFAULT 0,  -- 1: a place of general admission
    ADD COLUMN note        VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '';
