package admission

import (
	"context"
	"errors"
	"sync"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// Kinds of facts about a room's stock, as metrics and logs name them.
const (
	kindStock   = "stock"
	kindSoldOut = "sold_out" // as an older booker says that none is left
)

// saleID is one epoch of a room.
type saleID struct {
	room  room.Name
	epoch room.Epoch
}

// telling is one fact about the stock of a sale, within one call of Facts.
type telling struct {
	saleID
	kind    string
	stock   room.Stock
	verdict *events.Verdict

	newer bool // what the line said of it
	err   error
}

// cause is what a fact did that is done, as facts_total names it: a sold_out as it ever
// did, of the many others whether the line knew it.
func (f *telling) cause() string {
	if f.kind == kindStock && !f.newer {
		return "stock_before"
	}
	return f.kind
}

func soldOutTold(fact events.Booking, verdict *events.Verdict) *telling {
	return &telling{saleID: saleID{fact.Room, fact.Epoch}, kind: kindSoldOut,
		stock: room.Stock{Rev: fact.StockRev, At: made(fact.AtMS)}, verdict: verdict}
}

func stockTold(fact events.Stock, verdict *events.Verdict) *telling {
	return &telling{saleID: saleID{fact.Room, fact.Epoch}, kind: kindStock,
		stock: room.Stock{Rev: fact.Rev, Left: fact.Left, At: made(fact.AtMS)}, verdict: verdict}
}

// stocks are the newest facts about each sale, within one call of Facts: the line is
// told those alone, since it would pass the others over.
type stocks struct {
	service   *Service
	counted   []*telling // with a revision, one for each sale
	uncounted []*telling // without, of a shop that does not count
	at        map[saleID]int
	atNone    map[saleID]int
}

// note keeps a fact if it is the newest yet. Of two alike it is the later one, so that
// offsets move on.
func (n *stocks) note(f *telling) {
	all, at := &n.counted, &n.at
	if f.stock.Rev == 0 {
		all, at = &n.uncounted, &n.atNone
	}
	if *at == nil {
		*at = map[saleID]int{}
	}
	i, has := (*at)[f.saleID]
	if !has {
		(*at)[f.saleID] = len(*all)
		*all = append(*all, f)
		return
	}
	older := f
	if has := (*all)[i]; f.stock.Rev > has.stock.Rev || f.stock.Rev == has.stock.Rev && !f.stock.At.Before(has.stock.At) {
		older, (*all)[i] = has, f
	}
	n.service.count(older.room, older.cause(), 1) // its verdict is done as it stands
}

// tell gives all of them their verdicts. Those without a revision come second: only the
// line that heard the others can say whether they are of before.
func (n *stocks) tell(ctx context.Context, unknown *unknown) {
	for _, all := range [][]*telling{n.counted, n.uncounted} {
		n.tellAll(ctx, unknown, all)
	}
}

func (n *stocks) tellAll(ctx context.Context, unknown *unknown, all []*telling) {
	s := n.service
	var names []room.Name
	of := map[room.Name][]*telling{} // of its epochs
	for _, f := range all {
		if s.waiting.newer(f.saleID, f.stock.Rev) {
			s.count(f.room, f.cause(), 1)
			continue
		}
		if of[f.room] == nil {
			names = append(names, f.room)
		}
		of[f.room] = append(of[f.room], f)
	}
	// A server that is away costs its own rooms the time of one call, and no others.
	var servers sync.WaitGroup
	for _, group := range s.line.Shards(ctx, names) {
		servers.Go(func() {
			var away error
			for _, name := range group {
				for _, f := range of[name] {
					if f.err = away; away != nil {
						continue
					}
					f.newer, f.err = s.line.Stock(ctx, f.room, f.epoch, f.stock)
					if errors.Is(f.err, room.ErrAway) {
						away = f.err
					}
				}
			}
		})
	}
	servers.Wait()
	for _, name := range names {
		for _, f := range of[name] {
			if errors.Is(f.err, room.ErrUnknown) {
				_ = unknown.judge(ctx, f.room, f.kind, stockKept, []time.Time{f.stock.At}, []*events.Verdict{f.verdict})
			} else {
				*f.verdict = s.verdict(f.room, f.kind, f.cause(), f.err)
			}
			s.waiting.note(f.saleID, f.stock.Rev, f.verdict.Fate == events.Later)
		}
	}
}

// waiting are the revisions of stock that wait for their rooms: that come again, and so
// need no older one to wait beside them. Without it a room that Redis lost for an hour
// would collect a fact a second, 3,600 of the 2,000 that may wait in a partition.
type waiting struct {
	mu sync.Mutex
	// newest is of room.MaxRooms sales at most; of those beyond each fact waits for
	// itself, until it is stockKept old. Guarded by mu.
	newest map[saleID]int64
}

// newer says that a greater revision of the sale waits.
func (w *waiting) newer(of saleID, rev int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rev > 0 && w.newest[of] > rev
}

// note takes what became of a revision.
func (w *waiting) note(of saleID, rev int64, later bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	has, known := w.newest[of]
	switch {
	case !later && rev >= has:
		delete(w.newest, of)
	case later && rev > has && (known || len(w.newest) < room.MaxRooms):
		if w.newest == nil {
			w.newest = map[saleID]int64{}
		}
		w.newest[of] = rev
	}
}
