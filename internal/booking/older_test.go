package booking

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// olderDB is a database as the bookers of schema version 2 left it, without rows: the
// tables of testdata/version2, which are never changed.
func olderDB(t *testing.T, dsn string) *sqldb.DB {
	t.Helper()
	db := openDB(t, dsn)
	text, err := os.ReadFile("testdata/version2/" + string(db.Dialect) + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	for statement := range strings.SplitSeq(strings.TrimSpace(string(text)), ";\n") {
		if _, err := db.ExecContext(t.Context(), strings.TrimSuffix(statement, ";")); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return db
}

// older is a booker of schema version 2: its statements as it sent them, in its order.
// It is never changed with the store: while bookers are replaced one by one, such a one
// works beside a newer one, and its rows stay behind.
type older struct {
	t  *testing.T
	db *sqldb.DB
}

// tx runs one of its transactions. Each statement must match its number of rows; 0
// stands for any.
func (o older) tx(work func(run func(rows int64, query string, args ...any), tx *sqlx.Tx)) {
	o.t.Helper()
	err := o.db.Tx(o.t.Context(), func(tx *sqlx.Tx) (err error) {
		work(func(rows int64, query string, args ...any) {
			o.t.Helper()
			query, args, in := sqlx.In(query, args...)
			if in != nil {
				o.t.Fatal(in)
			}
			result, exec := tx.ExecContext(o.t.Context(), query, args...)
			if exec != nil {
				o.t.Fatalf("an older booker's %s: %v", query, exec)
			}
			if n, _ := result.RowsAffected(); rows > 0 && n != rows {
				o.t.Fatalf("an older booker's %s: matched %d rows, want %d", query, n, rows)
			}
		}, tx)
		return err
	})
	if err != nil {
		o.t.Fatalf("an older booker: %v", err)
	}
}

const olderInsertFact = "INSERT INTO outbox (type, body) VALUES (?, ?)"

func olderFact(b events.Booking) (string, string) {
	r := events.EncodeBooking(b)
	return r.Headers["ce_type"], string(r.Value)
}

func (o older) fact(run func(int64, string, ...any), b events.Booking) {
	typ, body := olderFact(b)
	run(1, olderInsertFact, typ, body)
}

// olderHold is a hold as it knows it.
type olderHold struct {
	pass  token.Pass
	id    seat.HoldID
	seats []seat.ID
	until time.Time
}

func (h olderHold) joined() string {
	var parts []string
	for _, id := range h.seats {
		parts = append(parts, string(id))
	}
	return strings.Join(parts, ",")
}

func (h olderHold) fact(typ string, now time.Time) events.Booking {
	return events.Booking{Type: typ, ID: string(h.id) + "." + typ, Room: h.pass.Room, Epoch: h.pass.Epoch,
		Admission: h.pass.Admission.String(), Hold: string(h.id), Seats: h.seats, AtMS: now.UnixMilli()}
}

func olderFinished(p token.Pass, now time.Time) events.Booking {
	return events.Booking{Type: events.TypeFinished, ID: p.Admission.String() + "." + events.TypeFinished, Room: p.Room, Epoch: p.Epoch,
		Admission: p.Admission.String(), AtMS: now.UnixMilli()}
}

// addSeats gives a room its seats.
func (o older) addSeats(name room.Name, seats []seat.ID) {
	o.t.Helper()
	if _, err := o.db.Write(o.t.Context(), "INSERT INTO stock (room, seats, booked) VALUES (?, 0, 0)", name); err != nil && !sqldb.IsDuplicate(err) {
		o.t.Fatal(err)
	}
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, "UPDATE stock SET seats = seats WHERE room = ?", name)
		for _, id := range seats {
			run(1, "INSERT INTO seats (room, id, state, hold) VALUES (?, ?, 'free', '')", name, id)
		}
		run(1, "UPDATE stock SET seats = seats + ? WHERE room = ?", len(seats), name)
	})
}

// admit records an admission.
func (o older) admit(p token.Pass, now time.Time) {
	o.t.Helper()
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, "INSERT INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms) VALUES (?, ?, ?, ?, ?, ?)",
			p.Admission.String(), 5, now.UnixMilli(), "", "", 0)
	})
}

// hold holds seats for a pass that it admits first.
func (o older) hold(p token.Pass, seats string, now time.Time) olderHold {
	o.t.Helper()
	o.admit(p, now)
	h := olderHold{pass: p, id: seat.NewHoldID(), seats: ids(seats), until: now.Add(rules.Hold)}
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, "UPDATE admissions SET hold = ? WHERE id = ? AND spent_ms = 0 AND hold = ''", h.id, p.Admission.String())
		run(int64(len(h.seats)), "UPDATE seats SET state = ?, hold = ? WHERE room = ? AND id IN (?) AND state = ?", seat.Held, h.id, p.Room, h.seats, seat.Free)
		run(1, "INSERT INTO holds (id, admission, room, seats, state, until_ms, ended_ms) VALUES (?, ?, ?, ?, ?, ?, 0)",
			h.id, p.Admission.String(), p.Room, h.joined(), "live", h.until.UnixMilli())
		o.fact(run, h.fact(events.TypeHeld, now))
	})
	return h
}

// end releases or expires a live hold.
func (o older) end(h olderHold, state string, now time.Time) {
	o.t.Helper()
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, "UPDATE admissions SET hold = '' WHERE id = ? AND hold = ?", h.pass.Admission.String(), h.id)
		run(1, "UPDATE holds SET state = ?, ended_ms = ? WHERE id = ? AND state = ?", state, now.UnixMilli(), h.id, "live")
		run(int64(len(h.seats)), "UPDATE seats SET state = ?, hold = '' WHERE room = ? AND id IN (?) AND state = ? AND hold = ?",
			seat.Free, h.pass.Room, h.seats, seat.Held, h.id)
		typ := events.TypeReleased
		if state == "expired" {
			typ = events.TypeExpired
		}
		o.fact(run, h.fact(typ, now))
	})
}

// confirm books a live hold. Its money is authorised and not taken.
func (o older) confirm(h olderHold, payment string, now time.Time) {
	o.t.Helper()
	ms, grace := now.UnixMilli(), now.Add(-rules.Grace).UnixMilli()
	o.tx(func(run func(int64, string, ...any), tx *sqlx.Tx) {
		run(1, "UPDATE admissions SET hold = '', booking = ?, spent_ms = ? WHERE id = ? AND spent_ms = 0 AND hold = ?", h.id, ms, h.pass.Admission.String(), h.id)
		run(1, "UPDATE holds SET state = ?, ended_ms = ? WHERE id = ? AND state = ? AND until_ms >= ?", "confirmed", ms, h.id, "live", grace)
		run(int64(len(h.seats)), "UPDATE seats SET state = ? WHERE room = ? AND id IN (?) AND state = ? AND hold = ?", seat.Booked, h.pass.Room, h.seats, seat.Held, h.id)
		for _, id := range h.seats {
			run(1, "INSERT INTO booked_seats (room, seat, hold) VALUES (?, ?, ?)", h.pass.Room, id, h.id)
		}
		run(1, "INSERT INTO bookings (hold, admission, room, payment, booked_ms, captured_ms) VALUES (?, ?, ?, ?, ?, 0)", h.id, h.pass.Admission.String(), h.pass.Room, payment, ms)
		o.fact(run, h.fact(events.TypeConfirmed, now))
		o.fact(run, olderFinished(h.pass, now))
		run(1, "UPDATE stock SET booked = booked + ? WHERE room = ? AND booked + ? <= seats", len(h.seats), h.pass.Room, len(h.seats))
		var stock struct{ Seats, Booked int64 }
		if err := tx.GetContext(o.t.Context(), &stock, "SELECT seats, booked FROM stock WHERE room = ?", h.pass.Room); err != nil {
			o.t.Fatal(err)
		}
		if stock.Booked >= stock.Seats {
			o.fact(run, events.Booking{Type: events.TypeSoldOut,
				ID:   string(h.pass.Room) + "." + string(h.pass.Epoch) + "." + strconv.FormatInt(stock.Seats, 10) + "." + events.TypeSoldOut,
				Room: h.pass.Room, Epoch: h.pass.Epoch, AtMS: ms})
		}
	})
}

// captured notes that it took the money of a booking.
func (o older) captured(h olderHold, now time.Time) {
	o.t.Helper()
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, "UPDATE bookings SET captured_ms = ? WHERE hold = ? AND captured_ms = 0", now.UnixMilli(), h.id)
	})
}

// leave spends a pass that has no hold.
func (o older) leave(p token.Pass, now time.Time) {
	o.t.Helper()
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, "UPDATE admissions SET spent_ms = ?, hold = '' WHERE id = ? AND spent_ms = 0 AND hold = ?", now.UnixMilli(), p.Admission.String(), "")
		o.fact(run, olderFinished(p, now))
	})
}

// describe keeps what a room's sale is for.
func (o older) describe(name room.Name, title string) {
	o.t.Helper()
	o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
		run(1, `INSERT INTO room_events (room, epoch, created_ms, rev, gone_ms, told, title, venue, starts_ms, accent, logo)
			VALUES (?, ?, ?, ?, 0, 1, ?, ?, ?, ?, ?)`, name, epoch, 1, 1, title, "Hall", 0, "#112233", []byte{})
	})
}

// expired are the holds that its sweeper would end.
func (o older) expired(now time.Time) (holds []seat.HoldID) {
	o.t.Helper()
	err := o.db.SelectContext(o.t.Context(), &holds, "SELECT id FROM holds WHERE state = ? AND until_ms < ? ORDER BY until_ms LIMIT ?",
		"live", now.Add(-rules.Grace).UnixMilli(), 100)
	if err != nil {
		o.t.Fatal(err)
	}
	return holds
}

// publish reads its outbox, as it does before it publishes, and deletes what it read.
func (o older) publish(ctx context.Context) (facts []events.Booking) {
	o.t.Helper()
	var rows []struct {
		ID         int64
		Type, Body string
	}
	if err := o.db.SelectContext(ctx, &rows, "SELECT id, type, body FROM outbox ORDER BY id LIMIT ?", 200); err != nil {
		o.t.Fatal(err)
	}
	var read []int64
	for _, r := range rows {
		b, err := events.DecodeBooking(map[string]string{"ce_type": r.Type}, []byte(r.Body))
		if err != nil {
			o.t.Fatalf("an older booker's fact %s: %v", r.Body, err)
		}
		facts, read = append(facts, b), append(read, r.ID)
	}
	if len(read) > 0 {
		o.tx(func(run func(int64, string, ...any), _ *sqlx.Tx) {
			run(int64(len(read)), "DELETE FROM outbox WHERE id IN (?)", read)
		})
	}
	return slices.Clip(facts)
}
