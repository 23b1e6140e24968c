-- See mysql/00007_booked_seats.sql.

-- Its columns have no length here.
-- +goose Up
SELECT 1;
