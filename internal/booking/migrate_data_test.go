package booking

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// published lets the outbox publish all that there is, of an older booker too, and
// compares it: "held A-1", "sold_out". Nothing may be left.
func published(t *testing.T, s *Store, want []string) {
	t.Helper()
	q := carrier{newQueue()}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		outbox.New(s.db, q, func() time.Time { return noon }, zap.NewNop(), prometheus.NewRegistry()).Run(ctx, nil)
	}()
	list := func() (list []string) {
		for _, r := range q.all() {
			if b, err := events.DecodeBooking(r.Headers, r.Value); err == nil {
				list = append(list, factLine(b))
			}
		}
		slices.Sort(list)
		return list
	}
	await(t, "an empty outbox", func() bool {
		var left int
		if err := s.db.GetContext(t.Context(), &left, "SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM facts)"); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	stop()
	<-done
	slices.Sort(want)
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("published: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// carrier is a queue as the outbox asks for it.
type carrier struct{ *queue }

func (carrier) Partitions(context.Context, string) (int, error) { return 8, nil }

// factLine is "held A-1,A-2", "finished" and the like.
func factLine(b events.Booking) string {
	text := strings.TrimSuffix(strings.TrimPrefix(b.Type, "waitroom.bookings."), ".v1")
	if len(b.Seats) > 0 {
		text += " " + joined(b.Seats)
	}
	return text
}

// wantStates compares the states of some holds, as they stand in the table.
func wantStates(t *testing.T, s *Store, want map[seat.HoldID]string) {
	t.Helper()
	for id, state := range want {
		var got string
		if err := s.db.GetContext(t.Context(), &got, "SELECT state FROM holds WHERE id = ?", id); err != nil || got != state {
			t.Errorf("hold %s: got %s, %v, want %s", id, got, err, state)
		}
	}
}

// TestMigrateWithData brings a shop of schema version 2 in the middle of its sale to
// today's: nothing is lost, what was begun there is ended here, and the last seat sells
// out the room.
func TestMigrateWithData(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		o := older{t, olderDB(t, dsn)}
		o.addSeats("gig", ids("A-1 A-2 A-3 A-4 A-5 A-6 A-7 A-8 A-9"))
		o.describe("gig", "Waiting for Godot")
		var passes [9]token.Pass
		for i := range passes {
			passes[i] = newPass()
		}
		bought := o.hold(passes[0], "A-1 A-2", noon)
		o.confirm(bought, "taken-1", noon)
		o.captured(bought, noon)
		owing := o.hold(passes[1], "A-3", noon)
		o.confirm(owing, "owed-1", noon.Add(-time.Hour))
		given := o.hold(passes[2], "A-4", noon)
		o.end(given, "released", noon)
		lapsed := o.hold(passes[3], "A-4", noon)
		o.end(lapsed, "expired", noon.Add(time.Hour))
		o.admit(passes[4], noon)
		o.leave(passes[4], noon)
		toBuy, toGive, toLapse := o.hold(passes[5], "A-5 A-6", noon), o.hold(passes[6], "A-7", noon), o.hold(passes[7], "A-8", noon.Add(-time.Hour))
		o.admit(passes[8], noon)

		g := newTill(t)
		for _, ref := range []string{"taken-1", "owed-1"} {
			g.refs[ref] = "authorised"
		}
		g.refs["taken-1"] = "captured"
		b := newBookerOn(t, o, func(p *Parts) { p.Gateway = g })
		s := b.store

		// All of it is there.
		wantSeats(t, s, "A-1:booked A-2:booked A-3:booked A-4 A-5:held A-6:held A-7:held A-8:held A-9")
		wantStates(t, s, map[seat.HoldID]string{bought.id: confirmed, owing.id: confirmed, given.id: released, lapsed.id: expired,
			toBuy.id: live, toGive.id: live, toLapse.id: live})
		if got := b.Event("gig"); got.Title != "Waiting for Godot" || got.Venue != "Hall" {
			t.Errorf("event: got %+v, want the one of before", got)
		}
		for i, want := range map[int]string{0: "spent booked", 1: "spent booked", 2: "", 3: "", 4: "spent", 5: "held", 8: ""} {
			v, err := s.Visit(t.Context(), passes[i])
			got := ""
			if v.Spent {
				got = "spent"
			}
			if v.Booking != nil {
				got += " booked"
			}
			if v.Hold != nil {
				got += "held"
			}
			if err != nil || got != want {
				t.Errorf("visit of pass %d: got %q, %v, want %q", i, got, err, want)
			}
		}
		if got, err := b.Confirm(t.Context(), passes[0], bought.id); err != nil || got.Hold != bought.id || len(got.Seats) != 2 {
			t.Errorf("a booking asked for again: got %+v, %v, want it", got, err)
		}

		// All of it works. A spent pass stays spent, money owed is taken, once.
		if _, _, err := s.Hold(t.Context(), passes[4], ids("A-9"), noon); !errors.Is(err, seat.ErrPassSpent) {
			t.Errorf("a pass that left: got %v, want %v", err, seat.ErrPassSpent)
		}
		captured(t, b, g, "owed-1")
		if _, _, err := s.Hold(t.Context(), passes[8], ids("A-5"), noon); !errors.Is(err, seat.ErrTaken) {
			t.Errorf("a seat that is held: got %v, want %v", err, seat.ErrTaken)
		}
		if _, err := b.Confirm(t.Context(), passes[5], toBuy.id); err != nil {
			t.Errorf("confirm a hold of before: %v", err)
		}
		if err := s.Release(t.Context(), passes[6], toGive.id, noon); err != nil {
			t.Errorf("release a hold of before: %v", err)
		}
		if ended, err := s.Expire(t.Context(), noon, 10); err != nil || len(ended) != 1 {
			t.Errorf("expire a hold of before: got %v, %v, want one", ended, err)
		}
		wantSeats(t, s, "A-1:booked A-2:booked A-3:booked A-4 A-5:booked A-6:booked A-7 A-8 A-9")

		// The last seat is the last one, counted across the migration.
		for i, p := range []token.Pass{passes[8], passes[7]} {
			h := mustHold(t, s, p, []string{"A-4 A-7", "A-8 A-9"}[i], noon)
			if err := s.buy(t.Context(), p, h.ID, noon); err != nil {
				t.Errorf("buy: %v", err)
			}
		}
		published(t, s, []string{
			"held A-1,A-2", "confirmed A-1,A-2", "finished", "held A-3", "confirmed A-3", "finished",
			"held A-4", "released A-4", "held A-4", "expired A-4", "finished", "held A-5,A-6", "held A-7", "held A-8",
			"confirmed A-5,A-6", "finished", "released A-7", "expired A-8",
			"held A-4,A-7", "confirmed A-4,A-7", "finished", "held A-8,A-9", "confirmed A-8,A-9", "finished", "sold_out"})
	})
}

// newBookerOn is a booker on the database of an older one, which it migrates.
func newBookerOn(t *testing.T, o older, change func(*Parts)) *Booker {
	t.Helper()
	parts := Parts{DB: o.db, Publisher: newQueue(), Gateway: FreeGateway{}, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()}
	change(&parts)
	b, err := New(t.Context(), config, parts)
	if err != nil {
		t.Fatal(err)
	}
	b.clock.now, b.clock.since = func() time.Time { return noon }, nil
	return b
}

// captured takes the money of what is owed, as the loop does, and wants ref taken.
func captured(t *testing.T, b *Booker, g *till, ref string) {
	t.Helper()
	if _, err := b.capture(t.Context()); err != nil {
		t.Errorf("capture: %v", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if got := g.refs[ref]; got != "captured" {
		t.Errorf("payment %s: got %s, want captured", ref, got)
	}
}

// TestOlderBookerBeside has a booker of schema version 2 go on working beside one of
// today, on today's tables: each ends what the other began, and whoever books the last
// seat says so, once.
func TestOlderBookerBeside(t *testing.T) {
	for _, last := range []string{"older", "newer"} {
		t.Run(last+" sells the last seat", func(t *testing.T) {
			each(t, func(t *testing.T, dsn string) {
				o := older{t, olderDB(t, dsn)}
				o.addSeats("gig", ids("A-1 A-2 A-3"))
				g := newTill(t)
				b := newBookerOn(t, o, func(p *Parts) { p.Gateway = g })
				s := b.store
				o.addSeats("gig", ids("A-4 A-5 A-6"))
				o.addSeats("new-room", ids("A-1"))

				var p [6]token.Pass
				for i := range p {
					p[i] = newPass()
				}
				ofOlder := o.hold(p[0], "A-1 A-2", noon)
				if err := s.buy(t.Context(), p[0], ofOlder.id, noon); err != nil {
					t.Errorf("the newer confirms the older's hold: %v", err)
				}
				o.captured(ofOlder, noon)
				ofNewer := o.of(mustHold(t, s, p[1], "A-3", noon), p[1])
				o.confirm(ofNewer, "older-1", noon)
				g.refs["older-1"] = "authorised"
				if v, err := s.Visit(t.Context(), p[1]); err != nil || v.Booking == nil || v.Booking.Hold != ofNewer.id {
					t.Errorf("visit what the older booked: got %+v, %v, want the booking", v, err)
				}
				// What the older one authorised and left is taken by the newer.
				b.clock.now = func() time.Time { return noon.Add(time.Minute) }
				captured(t, b, g, "older-1")
				b.clock.now = func() time.Time { return noon }

				o.end(o.of(mustHold(t, s, p[2], "A-4 A-5", noon), p[2]), "released", noon)
				gone := o.hold(p[3], "A-4", noon)
				if err := s.Release(t.Context(), p[3], gone.id, noon); err != nil {
					t.Errorf("the newer releases the older's hold: %v", err)
				}
				late := noon.Add(-time.Hour)
				over := mustHold(t, s, p[2], "A-4", late)
				if list := o.expired(noon); !slices.Equal(list, []seat.HoldID{over.ID}) {
					t.Errorf("the older's sweeper sees %v, want %s", list, over.ID)
				}
				o.end(o.of(over, p[2]), "expired", noon)
				o.hold(p[4], "A-5", late)
				if ended, err := s.Expire(t.Context(), noon, 10); err != nil || len(ended) != 1 {
					t.Errorf("the newer expires the older's hold: got %v, %v, want one", ended, err)
				}
				wantSeats(t, s, "A-1:booked A-2:booked A-3:booked A-4 A-5 A-6")

				sell := func(who string, p token.Pass, seats string) {
					if who == "older" {
						o.confirm(o.of(mustHold(t, s, p, seats, noon), p), "older-"+seats, noon)
					} else if err := s.buy(t.Context(), p, o.hold(p, seats, noon).id, noon); err != nil {
						t.Errorf("buy %s: %v", seats, err)
					}
				}
				other := map[string]string{"older": "newer", "newer": "older"}
				first, final := newPass(), newPass()
				sell(other[last], first, "A-4 A-5")
				sell(last, final, "A-6")
				published(t, s, []string{
					"held A-1,A-2", "confirmed A-1,A-2", "finished", "held A-3", "confirmed A-3", "finished",
					"held A-4,A-5", "released A-4,A-5", "held A-4", "released A-4", "held A-4", "expired A-4", "held A-5", "expired A-5",
					"held A-4,A-5", "confirmed A-4,A-5", "finished", "held A-6", "confirmed A-6", "finished", "sold_out"})
				if left := o.publish(t.Context()); len(left) != 0 {
					t.Errorf("got %d facts left in the older's outbox, want none", len(left))
				}
				for i, err := range settled(t, s, []room.Name{"gig", "new-room"}) {
					if !strings.Contains(err.Error(), "fact") { // all published by now
						t.Errorf("room %d: %v", i, err)
					}
				}
			})
		})
	}
}

// of is a hold of the newer booker, as the older one reads it.
func (o older) of(h seat.Hold, p token.Pass) olderHold {
	o.t.Helper()
	var row struct {
		Seats   string `db:"seats"`
		UntilMS int64  `db:"until_ms"`
	}
	err := o.db.GetContext(o.t.Context(), &row, "SELECT seats, until_ms FROM holds WHERE id = ? AND admission = ? AND state = 'live'", h.ID, p.Admission.String())
	if err != nil {
		o.t.Fatalf("an older booker reads the hold %s: %v", h.ID, err)
	}
	return olderHold{pass: p, id: h.ID, seats: ids(strings.ReplaceAll(row.Seats, ",", " ")), until: time.UnixMilli(row.UntilMS)}
}
