-- What was paid, what a person reads aloud, and when a capture that failed is tried again.

-- +goose Up
ALTER TABLE bookings
    ADD COLUMN amount     BIGINT     NOT NULL DEFAULT 0,
    ADD COLUMN currency   VARCHAR(3) NOT NULL DEFAULT '',
    ADD COLUMN reference  VARCHAR(8) NULL,               -- NULL: made by an older booker, given when it is first read
    ADD COLUMN capture_ms BIGINT     NOT NULL DEFAULT 0,
    ADD UNIQUE KEY bookings_reference (reference),
    ADD KEY bookings_due (captured_ms, capture_ms);
