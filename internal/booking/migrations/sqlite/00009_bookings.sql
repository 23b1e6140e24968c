-- See mysql/00009_bookings.sql.

-- +goose Up
ALTER TABLE bookings ADD COLUMN amount     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bookings ADD COLUMN currency   TEXT    NOT NULL DEFAULT '';
ALTER TABLE bookings ADD COLUMN reference  TEXT;
ALTER TABLE bookings ADD COLUMN capture_ms INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX bookings_reference ON bookings (reference);
CREATE INDEX bookings_due ON bookings (captured_ms, capture_ms);
