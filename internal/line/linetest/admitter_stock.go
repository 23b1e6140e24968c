package linetest

import (
	"time"

	"waitroom/internal/room"
)

// tell is the shop's word about the stock, and holds whether it is newer than what the
// line knew and whether that is an act.
func (a *admitter) tell(stock room.Stock, newer, act bool) {
	a.t.Helper()
	before := a.rev()
	got, err := a.Line.Stock(a.ctx, a.Name, a.Conf.Epoch, stock)
	if err != nil || got != newer {
		a.t.Fatalf("stock %+v: got newer %v, %v, want %v", stock, got, err, newer)
	}
	if after := a.rev(); after != before && !act || act && after != before+1 {
		a.t.Errorf("stock %+v: got rev %d after %d, want an act: %v", stock, after, before, act)
	}
}

func (a *admitter) soldOut() {
	t := a.t
	a.Join(3)
	a.tell(room.Stock{Rev: 7}, true, true)
	if r := a.round("sold out", 10, 0, room.StopSoldOut); !r.SoldOut || r.State != room.Open {
		t.Errorf("got %+v, want it sold out", r)
	}
	for _, rev := range []int64{7, 6, 0} {
		a.tell(room.Stock{Rev: rev}, false, false)
	}
	a.Set(room.Change{Actor: "ann", Reopen: true, StockRev: 9})
	a.round("seats were added", 1, 1, room.StopMore)
	a.tell(room.Stock{Rev: 8}, false, false)
	a.tell(room.Stock{Rev: 9}, false, false)
	a.round("a fact older than the seats", 1, 1, room.StopMore)
	a.tell(room.Stock{Rev: 10}, true, true)
	a.round("a fact of now", 10, 0, room.StopSoldOut)
	a.Set(room.Change{Actor: "ann", State: ptr(room.Paused)})
	a.round("before a pause", 10, 0, room.StopSoldOut)
}

// stock goes up and down: the newest word counts, in whatever order they come.
func (a *admitter) stock() {
	a.Join(5)
	noon := a.Now()
	left := func(rev, n int64) room.Stock {
		return room.Stock{Rev: rev, Left: n, At: noon.Add(time.Duration(rev) * time.Second)}
	}
	a.tell(left(1, 3), true, false)
	a.tell(left(2, 2), true, false)
	a.round("seats are left", 1, 1, room.StopMore)
	a.tell(left(4, 0), true, true)
	a.tell(left(3, 1), false, false) // comes late
	a.tell(left(4, 0), false, false)
	a.round("none is left", 10, 0, room.StopSoldOut)
	a.tell(left(6, 0), true, false) // the one between is not told yet
	a.tell(left(5, 4), false, false)
	a.round("none is left again", 10, 0, room.StopSoldOut)
	a.tell(left(7, 1), true, true)
	if r := a.round("one came back", 1, 1, room.StopMore); r.SoldOut {
		a.t.Errorf("got %+v, want it no longer sold out", r)
	}
	// The fact of an older shop: with a revision as any other, without one by its time.
	a.tell(room.Stock{Rev: 4}, false, false)
	a.tell(room.Stock{At: left(7, 0).At}, false, false)
	a.round("what is over", 1, 1, room.StopMore)
	a.tell(room.Stock{At: left(8, 0).At}, true, true)
	a.round("sold out, says a shop that counts no more", 10, 0, room.StopSoldOut)
	a.tell(left(7, 1), false, false)
	a.tell(left(8, 1), true, true)
	a.round("says one that counts", 1, 1, room.StopMore)
	// An operator's word holds against what was told before.
	a.tell(left(9, 0), true, true)
	a.Set(room.Change{Actor: "ann", Reopen: true})
	a.tell(left(9, 0), false, false)
	a.round("reopened", 10, 1, room.StopEmpty)
	a.tell(left(10, 0), true, true)
	// A reopening that names the stock before its fact comes: the fact changes nothing, but
	// its moment is known, and what a shop without revisions said before it is over.
	a.Set(room.Change{Actor: "ann", Reopen: true, StockRev: 11})
	a.tell(left(11, 0), false, false)
	a.tell(room.Stock{At: left(11, 0).At}, false, false)
	a.tell(left(12, 0), true, true)
	s, err := a.Line.Status(a.ctx, a.Name)
	if err != nil || !s.Conf.SoldOut || s.Conf.StockRev != 12 {
		a.t.Errorf("got %+v, %v, want it sold out at 12", s.Conf, err)
	}
	for _, bad := range []room.Stock{{Rev: -1}, {Rev: 13, Left: -1}, {Left: 1}} {
		if _, err := a.Line.Stock(a.ctx, a.Name, a.Conf.Epoch, bad); err == nil {
			a.t.Errorf("%+v: got no error", bad)
		}
	}
}

// stockOfStopped ends being sold out, and nothing that an operator set.
func (a *admitter) stockOfStopped() {
	a.Join(2)
	a.tell(room.Stock{Rev: 1}, true, true)
	a.Set(room.Change{Actor: "ann", State: ptr(room.Paused)})
	a.tell(room.Stock{Rev: 2, Left: 1}, true, true)
	if r := a.round("paused", 10, 0, room.StopPaused); r.SoldOut || r.State != room.Paused {
		a.t.Errorf("paused: got %+v, want it paused and not sold out", r)
	}
	a.tell(room.Stock{Rev: 3}, true, true)
	a.Set(room.Change{Actor: "ann", State: ptr(room.Closed)})
	a.tell(room.Stock{Rev: 4, Left: 1}, true, true)
	if r := a.round("closed", 10, 0, room.StopClosed); r.SoldOut || r.State != room.Closed {
		a.t.Errorf("closed: got %+v, want it closed and not sold out", r)
	}
	a.Set(room.Change{Actor: "ann", State: ptr(room.Open)})
	a.round("open again", 10, 2, room.StopEmpty)
}
