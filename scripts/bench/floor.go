package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// The floor of the shop: the statements of a hold and of a confirm through
// database/sql, on tables like the shop's, with nothing decided and nothing checked.

// mirror puts what the shop has of a room into the tables of the floor, where it
// belongs to another one: the name, and every id made of it, get the tag in front.
func (g *shopGround) mirror(ctx context.Context, tag string, name room.Name) error {
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"INSERT INTO floor_admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms) SELECT CONCAT(?, id), admitted_at_us, created_ms, IF(hold = '', '', CONCAT(?, SUBSTR(hold, 2))), '', 0 FROM admissions WHERE id LIKE CONCAT(?, '.%')", []any{tag, tag, name}},
		{"INSERT INTO floor_seats (room, id, state, hold) SELECT CONCAT(?, room), id, state, IF(hold = '', '', CONCAT(?, SUBSTR(hold, 2))) FROM seats WHERE room = ?", []any{tag, tag, name}},
		{"INSERT INTO floor_holds (id, admission, room, seats, state, until_ms, ended_ms) SELECT CONCAT(?, SUBSTR(id, 2)), CONCAT(?, admission), CONCAT(?, room), seats, state, until_ms, ended_ms FROM holds WHERE room = ?", []any{tag, tag, tag, name}},
		{"INSERT INTO floor_stock (room, seats, booked) SELECT CONCAT(?, room), seats, booked FROM stock WHERE room = ?", []any{tag, name}},
	} {
		if _, err := g.floor.ExecContext(ctx, s.query, s.args...); err != nil {
			return fmt.Errorf("the floor's tables: %w", err)
		}
	}
	return nil
}

// Tags are one letter each: it takes the place of the first of a hold's id, of which 15
// are left, still random.
const (
	inTrips  = "a"
	inOne    = "b"
	gathered = "c"
)

// gather is how many acts are in one transaction of the third floor, and gatherers
// how many such transactions are under way at most.
const gather, gatherers = 50, 4

// fact is one fact as a row: about as long as the shop's.
var (
	factHeaders = `{"ce_id":"` + strings.Repeat("x", 60) + `","ce_type":"waitroom.bookings.held.v1","ce_source":"/rooms/bench/shop","ce_time":"2026-11-22T05:00:00Z","ce_specversion":"1.0","content-type":"application/json"}`
	factBody    = `{"id":"` + strings.Repeat("x", 60) + `","room":"bench","epoch":"abcdefgh","admission":"` + strings.Repeat("x", 50) + `","hold":"0123456789abcdef","seats":["A-1"],"at_ms":1795000000000}`
)

const factTopic = "waitroom.bench"

// statements of one transaction, with their arguments.
type statements struct {
	queries []string
	args    [][]any
}

func (s *statements) add(query string, args ...any) {
	s.queries, s.args = append(s.queries, query), append(s.args, args)
}

// facts adds n of them, in one statement.
func (s *statements) facts(n int, key string) {
	var args []any
	for range n {
		args = append(args, factTopic, key, factHeaders, factBody, time.Now().UnixMilli())
	}
	s.add("INSERT INTO floor_facts (topic, msg_key, headers, payload, at_ms) VALUES "+rows(n, 5), args...)
}

// rows is the VALUES of n rows: (?, ?), (?, ?).
func rows(n, columns int) string {
	return strings.Repeat(", (?"+strings.Repeat(", ?", columns-1)+")", n)[2:]
}

// holdOf is the statements by which shoppers of one room hold their seats.
func holdOf(tag string, list []*shopper) (s statements) {
	name := tag + string(list[0].pass.Room)
	ids := make([]string, len(list))
	var holds, seats, admissions, which, what []any
	for i, one := range list {
		ids[i] = tag + string(one.pass.Visitor[:15]) // as random as a hold's, and known to nobody else
		holds = append(holds, ids[i], tag+one.pass.Admission.String(), name, one.seat, "live", time.Now().Add(rules.Hold).UnixMilli(), 0)
		which, what = append(which, tag+one.pass.Admission.String(), ids[i]), append(what, one.seat, ids[i])
		admissions, seats = append(admissions, tag+one.pass.Admission.String()), append(seats, one.seat)
	}
	when := " WHEN ? THEN ?"
	if len(list) == 1 {
		s.add("UPDATE floor_admissions SET hold = ? WHERE id = ? AND spent_ms = 0 AND hold = ''", ids[0], admissions[0])
		s.add("UPDATE floor_seats SET state = 'held', hold = ? WHERE room = ? AND id IN (?) AND state = 'free'", ids[0], name, seats[0])
	} else {
		in := "(" + strings.Repeat(", ?", len(list))[2:] + ")"
		s.add("UPDATE floor_admissions SET hold = CASE id"+strings.Repeat(when, len(list))+" END WHERE id IN "+in+" AND spent_ms = 0 AND hold = ''", append(which, admissions...)...)
		s.add("UPDATE floor_seats SET state = 'held', hold = CASE id"+strings.Repeat(when, len(list))+" END WHERE room = ? AND id IN "+in+" AND state = 'free'", append(append(what, name), seats...)...)
	}
	s.add("INSERT INTO floor_holds (id, admission, room, seats, state, until_ms, ended_ms) VALUES "+rows(len(list), 7), holds...)
	s.facts(len(list), string(list[0].pass.Visitor))
	return s
}

// confirmOf is the statements by which shoppers of one room buy what they hold.
func confirmOf(tag string, list []*shopper) (s statements) {
	name, now := tag+string(list[0].pass.Room), time.Now().UnixMilli()
	in := "(" + strings.Repeat(", ?", len(list))[2:] + ")"
	var admissions, holds, seats, booked, bookings []any
	for _, one := range list {
		id, admission := tag+string(one.hold[1:]), tag+one.pass.Admission.String()
		admissions, holds, seats = append(admissions, admission), append(holds, id), append(seats, one.seat)
		booked = append(booked, name, one.seat, id)
		bookings = append(bookings, id, admission, name, "free-"+id, now, 0)
	}
	s.add("UPDATE floor_admissions SET booking = hold, hold = '', spent_ms = ? WHERE id IN "+in+" AND spent_ms = 0", append([]any{now}, admissions...)...)
	s.add("UPDATE floor_holds SET state = 'confirmed', ended_ms = ? WHERE id IN "+in+" AND state = 'live'", append([]any{now}, holds...)...)
	s.add("UPDATE floor_seats SET state = 'booked' WHERE room = ? AND id IN "+in+" AND state = 'held'", append([]any{name}, seats...)...)
	s.add("INSERT INTO floor_booked_seats (room, seat, hold) VALUES "+rows(len(list), 3), booked...)
	s.add("INSERT INTO floor_bookings (hold, admission, room, payment, booked_ms, captured_ms) VALUES "+rows(len(list), 6), bookings...)
	s.facts(2*len(list), string(list[0].pass.Visitor)) // confirmed, finished
	s.add("UPDATE floor_stock SET booked = booked + ? WHERE room = ? AND booked + ? <= seats", len(list), name, len(list))
	return s
}

// expireOf is the statements by which the holds of shoppers of one room end.
func expireOf(tag string, list []*shopper) (s statements) {
	in := "(" + strings.Repeat(", ?", len(list))[2:] + ")"
	var admissions, holds, seats []any
	for _, one := range list {
		admissions, holds = append(admissions, tag+one.pass.Admission.String()), append(holds, tag+string(one.hold[1:]))
		seats = append(seats, one.seat)
	}
	s.add("SELECT id, admission, seats FROM floor_holds WHERE state = 'live' AND until_ms < ? ORDER BY until_ms LIMIT ?", time.Now().UnixMilli(), len(list))
	s.add("UPDATE floor_admissions SET hold = '' WHERE id IN "+in, admissions...)
	s.add("UPDATE floor_holds SET state = 'expired', ended_ms = ? WHERE id IN "+in, append([]any{time.Now().UnixMilli()}, holds...)...)
	s.add("UPDATE floor_seats SET state = 'free', hold = '' WHERE room = ? AND id IN "+in+" AND state = 'held'", append([]any{tag + string(list[0].pass.Room)}, seats...)...)
	s.facts(len(list), string(list[0].pass.Visitor))
	return s
}

// tripped runs a transaction with a round trip for each statement, the begin and
// the commit.
func tripped(ctx context.Context, db *sql.DB, s statements) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for i, query := range s.queries {
		if _, err := tx.ExecContext(ctx, query, s.args[i]...); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	return tx.Commit()
}

// atOnce runs a transaction in one round trip.
func atOnce(ctx context.Context, db *sql.DB, s statements) error {
	var all []any
	for _, args := range s.args {
		all = append(all, args...)
	}
	_, err := db.ExecContext(ctx, "START TRANSACTION; "+strings.Join(s.queries, "; ")+"; COMMIT", all...)
	return err
}

// floors are the three of one kind of act, in acts a second, and what the first
// costs in processor time.
type floors struct {
	trips, one, gathered float64
	cost                 spent // of one act in trips, in µs
}

// measure runs all three floors for as long as d each, or until the shoppers are
// through.
func (g *shopGround) measure(ctx context.Context, of func(tag string, list []*shopper) statements, list []*shopper, n int, d time.Duration) (f floors, err error) {
	byRoom := map[room.Name][]*shopper{}
	for _, s := range list {
		byRoom[s.pass.Room] = append(byRoom[s.pass.Room], s)
	}
	for name := range byRoom {
		for _, tag := range []string{inTrips, inOne, gathered} {
			if err := g.mirror(ctx, tag, name); err != nil {
				return f, err
			}
		}
	}
	before, err := g.spent()
	if err != nil {
		return f, err
	}
	t := callers(ctx, n, len(list), d, func(ctx context.Context, i int) error {
		return tripped(ctx, g.floor, of(inTrips, list[i:i+1]))
	})
	if err := t.some(); err != nil {
		return f, fmt.Errorf("the floor in trips: %w", err)
	}
	after, err := g.spent()
	if err != nil {
		return f, err
	}
	f.trips, f.cost = t.perSecond(), after.each(before, len(t.times))
	t = callers(ctx, n, len(list), d, func(ctx context.Context, i int) error {
		return atOnce(ctx, g.floor, of(inOne, list[i:i+1]))
	})
	if err := t.some(); err != nil {
		return f, fmt.Errorf("the floor in one trip: %w", err)
	}
	f.one = t.perSecond()
	var lots [][]*shopper
	for _, some := range byRoom {
		for len(some) >= gather {
			lots, some = append(lots, some[:gather]), some[gather:]
		}
	}
	t = callers(ctx, min(n, gatherers), len(lots), d, func(ctx context.Context, i int) error {
		return tripped(ctx, g.floor, of(gathered, lots[i]))
	})
	if err := t.some(); err != nil {
		return f, fmt.Errorf("the floor of %d in a transaction: %w", gather, err)
	}
	f.gathered = t.perSecond() * gather
	return f, nil
}

// trips is the first floor alone, in acts a second.
func (g *shopGround) trips(ctx context.Context, of func(tag string, list []*shopper) statements, list []*shopper, n int, d time.Duration) (float64, error) {
	if err := g.mirror(ctx, inTrips, list[0].pass.Room); err != nil {
		return 0, err
	}
	t := callers(ctx, n, len(list), d, func(ctx context.Context, i int) error {
		return tripped(ctx, g.floor, of(inTrips, list[i:i+1]))
	})
	if err := t.some(); err != nil {
		return 0, fmt.Errorf("the floor in trips: %w", err)
	}
	return t.perSecond(), nil
}

// buyRaw lets n callers hold and confirm, one shopper after the other, and says how
// long each took in ms.
func (g *shopGround) buyRaw(ctx context.Context, list []*shopper, n int, d time.Duration) (holds, confirms []float64, err error) {
	var mu sync.Mutex
	t := callers(ctx, n, len(list), d, func(ctx context.Context, i int) error {
		one := *list[i]
		one.hold = seat.HoldID(inTrips + string(one.pass.Visitor[:15])) // as holdOf names it
		begun := time.Now()
		if err := tripped(ctx, g.floor, holdOf(inTrips, list[i:i+1])); err != nil {
			return err
		}
		held := time.Now()
		if err := tripped(ctx, g.floor, confirmOf(inTrips, []*shopper{&one})); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		holds = append(holds, held.Sub(begun).Seconds()*1e3)
		confirms = append(confirms, time.Since(held).Seconds()*1e3)
		return nil
	})
	return holds, confirms, t.some()
}
