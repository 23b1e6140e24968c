CREATE TABLE waitroom_migrations (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
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
CREATE TABLE room_events (
    room       TEXT    NOT NULL PRIMARY KEY,
    epoch      TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    rev        INTEGER NOT NULL,
    gone_ms    INTEGER NOT NULL,
    told       INTEGER NOT NULL,
    title      TEXT    NOT NULL,
    venue      TEXT    NOT NULL,
    starts_ms  INTEGER NOT NULL,
    accent     TEXT    NOT NULL,
    logo       BLOB    NOT NULL
) STRICT;
INSERT INTO waitroom_migrations (id, version_id, is_applied, tstamp) VALUES (1, 0, 1, '2026-11-22 05:00:00');
INSERT INTO waitroom_migrations (id, version_id, is_applied, tstamp) VALUES (2, 1, 1, '2026-11-22 05:00:00');
INSERT INTO waitroom_migrations (id, version_id, is_applied, tstamp) VALUES (3, 2, 1, '2026-11-22 05:00:00');
