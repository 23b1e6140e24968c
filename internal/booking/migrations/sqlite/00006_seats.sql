-- See mysql/00006_seats.sql.

-- +goose Up
ALTER TABLE seats ADD COLUMN amount   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seats ADD COLUMN currency TEXT    NOT NULL DEFAULT '';
