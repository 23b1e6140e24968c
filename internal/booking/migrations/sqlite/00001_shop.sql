-- The tables of mysql/00001_shop.sql, whose comments hold here too.

-- +goose Up
CREATE TABLE admissions (
    id             TEXT    NOT NULL PRIMARY KEY,
    admitted_at_us INTEGER NOT NULL,
    created_ms     INTEGER NOT NULL,
    hold           TEXT    NOT NULL,
    booking        TEXT    NOT NULL,
    spent_ms       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX admissions_created ON admissions (created_ms);

CREATE TABLE holds (
    id         TEXT    NOT NULL PRIMARY KEY,
    admission  TEXT    NOT NULL,
    room       TEXT    NOT NULL,
    seats      TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    until_ms   INTEGER NOT NULL,
    ended_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_until ON holds (state, until_ms);
CREATE INDEX holds_ended ON holds (state, ended_ms);

CREATE TABLE seats (
    room  TEXT NOT NULL,
    id    TEXT NOT NULL,
    state TEXT NOT NULL,
    hold  TEXT NOT NULL,
    PRIMARY KEY (room, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE bookings (
    hold        TEXT    NOT NULL PRIMARY KEY,
    admission   TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    payment     TEXT    NOT NULL,
    booked_ms   INTEGER NOT NULL,
    captured_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX bookings_admission ON bookings (admission);
CREATE INDEX bookings_captured ON bookings (captured_ms, booked_ms);

CREATE TABLE booked_seats (
    room TEXT NOT NULL,
    seat TEXT NOT NULL,
    hold TEXT NOT NULL,
    PRIMARY KEY (room, seat)
) STRICT, WITHOUT ROWID;

CREATE TABLE stock (
    room   TEXT    NOT NULL PRIMARY KEY,
    seats  INTEGER NOT NULL,
    booked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- +goose Down
DROP TABLE outbox;
DROP TABLE stock;
DROP TABLE booked_seats;
DROP TABLE bookings;
DROP TABLE seats;
DROP TABLE holds;
DROP TABLE admissions;
