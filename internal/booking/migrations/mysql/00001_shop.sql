-- The tables of the shop. sqlite/ holds the same tables in SQLite's words; the
-- statements over them are shared. Columns are added, never changed in meaning,
-- so that a booker one version older works beside a newer one.
-- Texts are ascii, compared byte by byte. Times are ms since 1970 on the seats'
-- clock; 0 and '' stand for "not yet".

-- +goose Up
CREATE TABLE admissions (
    id             VARCHAR(100) NOT NULL PRIMARY KEY, -- room.epoch.number.visitor
    admitted_at_us BIGINT       NOT NULL,             -- the line's clock; 0: the pass came before the event
    created_ms     BIGINT       NOT NULL,
    hold           VARCHAR(16)  NOT NULL,             -- the one live hold
    booking        VARCHAR(16)  NOT NULL,             -- the hold that was confirmed
    spent_ms       BIGINT       NOT NULL,
    KEY admissions_created (created_ms)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

CREATE TABLE holds (
    id         VARCHAR(16)   NOT NULL PRIMARY KEY,
    admission  VARCHAR(100)  NOT NULL,
    room       VARCHAR(63)   NOT NULL,
    seats      VARCHAR(1000) NOT NULL,                -- sorted, with commas
    state      VARCHAR(10)   NOT NULL,                -- live, then once: confirmed, released or expired
    until_ms   BIGINT        NOT NULL,
    ended_ms   BIGINT        NOT NULL,
    KEY holds_until (state, until_ms),
    KEY holds_ended (state, ended_ms)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

CREATE TABLE seats (
    room  VARCHAR(63) NOT NULL,
    id    VARCHAR(8)  NOT NULL,
    state VARCHAR(6)  NOT NULL,                       -- free, held, booked
    hold  VARCHAR(16) NOT NULL,                       -- who holds it or booked it
    PRIMARY KEY (room, id)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

CREATE TABLE bookings (
    hold        VARCHAR(16)  NOT NULL PRIMARY KEY,
    admission   VARCHAR(100) NOT NULL,
    room        VARCHAR(63)  NOT NULL,
    payment     VARCHAR(64)  NOT NULL,
    booked_ms   BIGINT       NOT NULL,
    captured_ms BIGINT       NOT NULL,                -- 0: the money is authorised, not yet taken
    UNIQUE KEY bookings_admission (admission),
    KEY bookings_captured (captured_ms, booked_ms)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- The last line against a seat sold twice: its primary key.
CREATE TABLE booked_seats (
    room VARCHAR(63) NOT NULL,
    seat VARCHAR(8)  NOT NULL,
    hold VARCHAR(16) NOT NULL,
    PRIMARY KEY (room, seat)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- One counter row per room: who makes booked equal to seats booked the last.
CREATE TABLE stock (
    room   VARCHAR(63) NOT NULL PRIMARY KEY,
    seats  BIGINT      NOT NULL,
    booked BIGINT      NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

CREATE TABLE outbox (
    id   BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    type VARCHAR(64)   NOT NULL,
    body VARCHAR(4000) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;

-- +goose Down
DROP TABLE outbox;
DROP TABLE stock;
DROP TABLE booked_seats;
DROP TABLE bookings;
DROP TABLE seats;
DROP TABLE holds;
DROP TABLE admissions;
