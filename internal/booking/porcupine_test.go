package booking

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// The model of porcupine: every seat of the room is free, held by a hold, or
// booked by one. All acts of a history must fit one order in which each happened
// at one moment between its call and its return.
const modelSeats = 12

type model [modelSeats]struct {
	state seat.State
	by    seat.HoldID
}

type input struct {
	act   string // hold, taken, end, confirm, map
	seats []int
	hold  seat.HoldID
}

type output struct {
	done  bool                   // end, confirm: it won
	hold  seat.HoldID            // hold
	seats [modelSeats]seat.State // map
}

var seatModel = porcupine.Model{
	Init: func() any {
		var m model
		for i := range m {
			m[i].state = seat.Free
		}
		return m
	},
	Step: func(state, in, out any) (bool, any) {
		m, i, o := state.(model), in.(input), out.(output)
		switch i.act {
		case "hold": // all of them were free
			for _, n := range i.seats {
				if m[n].state != seat.Free {
					return false, m
				}
				m[n].state, m[n].by = seat.Held, o.hold
			}
		case "taken": // this one was not
			return m[i.seats[0]].state != seat.Free, m
		case "end", "confirm": // it held all its seats, or had ended
			held := true
			for _, n := range i.seats {
				held = held && m[n].state == seat.Held && m[n].by == i.hold
			}
			if held != o.done {
				return false, m
			}
			for _, n := range i.seats {
				switch {
				case !held:
				case i.act == "end":
					m[n].state, m[n].by = seat.Free, ""
				default:
					m[n].state = seat.Booked
				}
			}
		case "map": // a picture of one moment
			for n := range m {
				if m[n].state != o.seats[n] {
					return false, m
				}
			}
		}
		return true, m
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

// history collects the operations of all clients.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) now() int64 { return time.Since(h.began).Nanoseconds() }

func (h *history) add(client int, call int64, in input, out output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: h.now()})
}

// TestSeatsLinearizable lets visitors hold, release and confirm, sweepers expire
// and others look at the map, all at once, and asks porcupine for an order.
func TestSeatsLinearizable(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, modelSeats)
		all, err := s.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		number := map[seat.ID]int{}
		for i, one := range all {
			number[one.ID] = i
		}
		numbers := func(list []seat.ID) (n []int) {
			for _, id := range list {
				n = append(n, number[id])
			}
			return n
		}
		h := &history{began: time.Now()}
		at(10, func(client int) {
			switch {
			case client == 0:
				sweepHistory(t, s, h, client, numbers)
			case client == 1:
				lookHistory(t, s, h, client)
			default:
				visitHistory(t, s, h, client, all, numbers)
			}
		})
		acts := map[string]int{}
		for _, o := range h.ops {
			acts[fmt.Sprintf("%s %t", o.Input.(input).act, o.Output.(output).done)]++
		}
		t.Logf("%d operations: %v", len(h.ops), acts)
		if got := porcupine.CheckOperationsTimeout(seatModel, h.ops, time.Minute); got != porcupine.Ok {
			t.Errorf("got %s, want an order of %d operations that one room could have seen", got, len(h.ops))
		}
	})
}

// visitHistory is a visitor with one pass after the other.
func visitHistory(t *testing.T, s *Store, h *history, client int, all []seat.Seat, numbers func([]seat.ID) []int) {
	for range 12 {
		p := newPass()
		var asked []string
		for _, i := range rand.Perm(len(all))[:1+rand.IntN(3)] {
			asked = append(asked, string(all[i].ID))
		}
		seats, err := seat.Ask(asked, 6)
		if err != nil {
			t.Error(err)
			return
		}
		call := h.now()
		hold, _, err := s.Hold(t.Context(), p, seats, noon)
		var taken *seat.TakenError
		if errors.As(err, &taken) {
			// Each named seat was taken at some moment of the call, not all at one.
			for _, n := range numbers(taken.Seats) {
				h.add(client, call, input{act: "taken", seats: []int{n}}, output{})
			}
			continue
		}
		if err != nil {
			t.Errorf("hold %s: %v", strings.Join(asked, " "), err)
			return
		}
		h.add(client, call, input{act: "hold", seats: numbers(seats)}, output{hold: hold.ID})
		finishHistory(t, s, h, client, p, hold, numbers(seats))
	}
}

// finishHistory releases, or now and then confirms, twice: from two tabs.
func finishHistory(t *testing.T, s *Store, h *history, client int, p token.Pass, hold seat.Hold, seats []int) {
	buy := rand.IntN(20) == 0
	at(2, func(int) {
		call := h.now()
		in := input{act: "end", seats: seats, hold: hold.ID}
		var err error
		if buy {
			in.act = "confirm"
			err = s.buy(t.Context(), p, hold.ID, noon)
		} else {
			var row holdRow
			if row, err = s.hold(t.Context(), p, hold.ID); err == nil {
				err = s.resolve(t.Context(), row, released, noon)
			}
		}
		if err != nil && !errors.Is(err, errLost) {
			t.Errorf("%s: %v", in.act, err)
			return
		}
		h.add(client, call, in, output{done: err == nil})
	})
}

// sweepHistory ends whatever is live, as a sweeper would whose time has come.
func sweepHistory(t *testing.T, s *Store, h *history, client int, numbers func([]seat.ID) []int) {
	for range 25 {
		var live []holdRow
		err := s.db.SelectContext(t.Context(), &live, "SELECT "+holdColumns+" FROM holds WHERE state = 'live' LIMIT 1")
		if err != nil {
			t.Error(err)
			return
		}
		for _, row := range live {
			call := h.now()
			err := s.resolve(t.Context(), row, expired, noon)
			if err != nil && !errors.Is(err, errLost) {
				t.Errorf("expire: %v", err)
				return
			}
			h.add(client, call, input{act: "end", seats: numbers(row.seats()), hold: row.ID}, output{done: err == nil})
		}
	}
}

// lookHistory reads the map.
func lookHistory(t *testing.T, s *Store, h *history, client int) {
	for range 40 {
		call := h.now()
		seats, err := s.Seats(t.Context(), "gig")
		if err != nil {
			t.Error(err)
			return
		}
		var o output
		for i, one := range seats {
			o.seats[i] = one.State
		}
		h.add(client, call, input{act: "map"}, o)
	}
}
