-- Names with a section.

-- +goose Up
ALTER TABLE booked_seats
    MODIFY COLUMN seat VARCHAR(24) NOT NULL;
