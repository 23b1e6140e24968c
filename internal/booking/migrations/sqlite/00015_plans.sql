-- See mysql/00015_plans.sql.

-- +goose Up
ALTER TABLE seats ADD COLUMN category   TEXT    NOT NULL DEFAULT '';
ALTER TABLE seats ADD COLUMN unnumbered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seats ADD COLUMN note       TEXT    NOT NULL DEFAULT '';
