package booking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// What a history says of the stock and of lines: facts about what is left come in the
// order of their revs and are true, and once a room has a new line the passes of the one
// before open nothing, and end what they have.

// historyNext is the line that a room gets within its history; newPass is of the first.
var historyNext = room.NewEpoch()

// oldLine reports whether a pass of the model is of a room's first line: every other one.
func oldLine(pass int) bool { return pass%2 == 0 }

// The clock of what is told is as fast as lets a few tells of a history come a second
// after one another, and far from that of the acts: a moment of one is none of the other.
const (
	tellFast = 20
	tellFrom = 10 * time.Minute
)

// modelLate is the moment from which seats are added to a room whose seats go fast: some
// two thirds of a history.
const modelLate = 600

// What facts of the stock say that no one act does.
const (
	soldOut    = "stock: sold out"
	thereAgain = "stock: there are seats again"
)

// process is a store, and what its process knows of lines.
type process struct {
	*Store
	events *saleEvents
	mu     sync.Mutex // of who looks: in production it is one loop
}

func historyStore(t *testing.T, dsn string) *process {
	t.Helper()
	s, err := NewStore(t.Context(), openDB(t, dsn), historyRules)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Store: s, events: newSaleEvents(s)}
	s.rules.Line = p.events.line
	return p
}

// tell is one call of TellStock. Its moment is no other one's.
type tell struct {
	client, process int
	call, ret       int64
	now             int32
	told            int
	unknown         bool
}

// tellAt is the moment that a tell at now gives.
func (h *history) tellAt(now int32) time.Time { return h.at(now * tellFast).Add(tellFrom) }

// open makes the room and its first line.
func (h *history) open(ctx context.Context) error {
	s := h.stores[0]
	if err := s.db.GetContext(ctx, &h.before, "SELECT COALESCE(MAX(id), 0) FROM facts"); err != nil {
		return err
	}
	if _, err := s.AddSeats(ctx, h.room, seatSet(1<<modelFirst-1).ids()); err != nil {
		return err
	}
	if err := s.Describe(ctx, events.Described{Room: h.room, Epoch: epoch, CreatedMS: 1, Rev: 1}); err != nil {
		return err
	}
	return h.everybodyLooks(ctx)
}

// close has everybody forget the room's lines, so that no later history tells its stock.
func (h *history) close(ctx context.Context) {
	_, err := h.stores[0].db.Write(ctx, "DELETE FROM room_events WHERE room = ?", h.room)
	if err = errors.Join(err, h.everybodyLooks(ctx)); err != nil {
		h.fail("%w", err)
	}
}

func (h *history) everybodyLooks(ctx context.Context) (err error) {
	for _, s := range h.stores {
		_, one := s.events.look(ctx)
		err = errors.Join(err, one)
	}
	return err
}

// nextLine tells of the room's next line.
func (c *client) nextLine(ctx context.Context) {
	a := input{kind: actNextLine, now: c.now()}
	call := c.real()
	err := c.store.Describe(ctx, events.Described{Room: c.room, Epoch: historyNext, CreatedMS: 2, Rev: 1})
	if a.unknown = unsure(err); err != nil && !a.unknown {
		c.fail("next line: %w", err)
		return
	}
	c.add(c.number, call, a, answer{})
}

// learn has the client's process look which lines there are: it reads, and from then on
// it knows.
func (c *client) learn(ctx context.Context) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	call := c.real()
	if _, err := c.store.events.look(ctx); err != nil {
		if !unsure(err) {
			c.fail("lines: %w", err)
		}
		return // it knows what it knew
	}
	newest, _ := c.store.events.line(c.room, "")
	o := answer{next: newest == historyNext}
	for _, kind := range []string{actReadLine, actKnownLine} {
		c.add(c.number, call, input{kind: kind, process: c.of, now: c.clock.Load()}, o)
	}
}

func (c *client) addSeats(ctx context.Context) {
	if c.eager && c.clock.Load() < modelLate {
		return // first let it sell out
	}
	a := input{kind: actAdded, now: c.now()}
	call := c.real()
	n, err := c.addHow(ctx)
	switch {
	case unsure(err):
		a.unknown = true
	case err != nil || n != 0 && n != modelSeats-modelFirst:
		c.fail("add seats: %d, %w", n, err)
		return
	case n == 0:
		a.kind = actThere
	}
	c.add(c.number, call, a, answer{})
}

// count looks at the counter.
func (c *client) count(ctx context.Context) {
	a := input{kind: actCounted, now: c.now()}
	call := c.real()
	var row stockRow
	if err := c.store.db.GetContext(ctx, &row, "SELECT "+stockColumns+" FROM stock WHERE room = ?", c.room); err != nil {
		if !unsure(err) {
			c.fail("count: %w", err)
		}
		return
	}
	c.add(c.number, call, a, answer{stock: seen(row.Rev, row.left(), row.Seats)})
}

func seen(rev, left, seats int64) stockSeen { return stockSeen{uint8(rev), uint8(left), uint8(seats)} }

// tell has the line told what is left. What it was told stands among the facts.
func (c *client) tell(ctx context.Context) {
	s := tell{client: c.number, process: c.of, now: c.now()}
	c.mu.Lock()
	for c.claimed[s.now] {
		s.now++
	}
	c.claimed[s.now] = true
	c.mu.Unlock()
	c.tellAs(ctx, s)
}

func (c *client) tellAs(ctx context.Context, s tell) {
	var err error
	s.call = c.real()
	s.told, err = c.store.TellStock(ctx, c.tellAt(s.now))
	s.ret = c.real()
	if s.unknown = unsure(err); s.unknown {
		s.ret = never
	} else if err != nil || s.told > 1 {
		c.fail("tell: told of %d rooms, %w", s.told, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tells = append(c.tells, s)
}

// stockFact is a fact of the stock, or that it sold out.
type stockFact struct {
	events.Stock
	sold bool
}

// facts are those of the stock that this history left, in their order.
func (h *history) facts(ctx context.Context) (list []stockFact, err error) {
	var rows []struct{ Headers, Payload []byte }
	if err := h.stores[0].db.SelectContext(ctx, &rows, "SELECT headers, payload FROM facts WHERE id > ? ORDER BY id", h.before); err != nil {
		return nil, err
	}
	for _, r := range rows {
		var headers map[string]string
		if err := json.Unmarshal(r.Headers, &headers); err != nil {
			return nil, err
		}
		switch headers["ce_type"] {
		case events.TypeStock:
			f, err := events.DecodeStock(headers, r.Payload)
			if err != nil {
				return nil, err
			}
			list = append(list, stockFact{Stock: f})
		case events.TypeSoldOut:
			f, err := events.DecodeBooking(headers, r.Payload)
			if err != nil {
				return nil, err
			}
			list = append(list, stockFact{Stock: events.Stock{Room: f.Room, Epoch: f.Epoch, Rev: f.StockRev}, sold: true})
		}
	}
	return slices.DeleteFunc(list, func(f stockFact) bool { return f.Room != h.room }), nil
}

// settleStock has everybody tell at once, which one of them must do, and looks at all that
// was told: each tell becomes an act of its own, and the facts in their order say one
// thing.
func (h *history) settleStock(ctx context.Context) {
	last := h.clock.Add(5_000) // a minute of the tells' clock and more
	tells := len(h.tells)
	at(historyClients, func(i int) {
		c := &client{history: h, number: historyClients + 1 + i, store: h.stores[i%len(h.stores)], of: i % len(h.stores)}
		c.tellAs(ctx, tell{client: c.number, process: c.of, now: last})
	})
	told := 0
	for _, s := range h.tells[tells:] {
		told += s.told
	}
	if told != 1 && len(h.errs) == 0 {
		h.fail("%d of %d who told the stock at once told it, want one", told, historyClients)
	}
	facts, err := h.facts(ctx)
	if err != nil {
		h.fail("%w", err)
		return
	}
	loop := map[int64]bool{} // the moments of tells
	for _, s := range h.tells {
		ms := h.tellAt(s.now).UnixMilli()
		loop[ms] = true
		i := slices.IndexFunc(facts, func(f stockFact) bool { return !f.sold && f.AtMS == ms })
		switch {
		case i < 0 && s.told > 0:
			h.fail("told the stock at %d, and there is no fact", s.now)
		case i >= 0 && (s.told > 0 || s.unknown):
			f := facts[i]
			h.ops = append(h.ops, porcupine.Operation{ClientId: s.client, Call: s.call, Return: s.ret,
				Input: input{kind: actTold, now: s.now}, Output: answer{stock: seen(f.Rev, f.Left, f.Seats)}})
			line := input{kind: actNotOld, now: s.now, process: s.process}
			if f.Epoch == historyNext {
				line.kind = actOldPass
			}
			h.ops = append(h.ops, porcupine.Operation{ClientId: s.client, Call: s.call, Return: s.ret, Input: line, Output: answer{}})
		}
	}
	var row stockRow
	if err := h.stores[0].db.GetContext(ctx, &row, "SELECT "+stockColumns+" FROM stock WHERE room = ?", h.room); err != nil {
		h.fail("%w", err)
		return
	}
	wrong := wrongStock
	if h.blocks {
		wrong = wrongBlocked
	}
	if err := wrong(facts, row, func(f stockFact) bool { return loop[f.AtMS] }); err != nil {
		h.fail("%w, in %s", err, facts)
	}
	for _, f := range facts {
		if !f.sold {
			continue
		}
		if h.soldOut++; f.Rev < row.Rev { // the row can have gone on by added seats only
			h.thereAgain++
			break
		}
	}
}

func (f stockFact) String() string {
	if f.sold {
		return fmt.Sprintf("[%s sold out %d]", f.Epoch, f.Rev)
	}
	return fmt.Sprintf("[%s %d: %d of %d at %d]", f.Epoch, f.Rev, f.Left, f.Seats, f.AtMS)
}

// wrongStock is what contradicts the rules in the facts of a room, in the order of the
// table, and in its counter's row at the end. loop says of a fact that TellStock wrote it.
func wrongStock(facts []stockFact, row stockRow, loop func(stockFact) bool) error {
	sold := map[int64]int64{} // by how many seats there were: the rev at which they were gone
	var before *stockFact
	for i := 0; i < len(facts); i++ {
		f := &facts[i]
		if f.sold {
			if i++; i == len(facts) || facts[i].sold || facts[i].Left != 0 || facts[i].Rev != f.Rev || facts[i].Epoch != f.Epoch {
				return fmt.Errorf("%s is not followed by that nothing is left", f)
			}
			f = &facts[i]
			if _, twice := sold[f.Seats]; twice {
				return fmt.Errorf("%d seats sold out twice", f.Seats)
			}
			sold[f.Seats] = f.Rev
		}
		rev, was := sold[f.Seats]
		switch {
		case f.Left == 0 && !was:
			return fmt.Errorf("%s, and it never sold out", f)
		case was && (f.Left != 0 || f.Rev != rev):
			return fmt.Errorf("%s after it sold out at %d", f, rev)
		}
		if before != nil {
			if err := wrongNext(*before, *f, loop(*f)); err != nil {
				return fmt.Errorf("%s after %s: %w", f, before, err)
			}
			rev, was := sold[before.Seats]
			if was && before.Seats != f.Seats && (f.Rev != rev+1 || f.Left != f.Seats-before.Seats || loop(*f)) {
				return fmt.Errorf("%s: that there are seats again was not told at once", f)
			}
		}
		before = f
	}
	_, was := sold[row.Seats]
	switch {
	case before == nil || before.Rev != row.Rev || before.Left != row.left() || before.Seats != row.Seats:
		return fmt.Errorf("the last fact is not of the counter %+v", row)
	case was != (row.left() == 0):
		return fmt.Errorf("sold out: told %t, %d left", was, row.left())
	}
	return nil
}

// wrongNext compares two facts of which nothing was told in between.
func wrongNext(a, b stockFact, loop bool) error {
	grown := b.Seats - a.Seats
	booked, changes := a.Left+grown-b.Left, b.Rev-a.Rev
	added := min(grown, 1) // seats are added together
	gap := time.Duration(max(a.AtMS-b.AtMS, b.AtMS-a.AtMS)) * time.Millisecond
	switch {
	case grown < 0 || booked < 0 || changes < 0:
		return errors.New("it is older")
	case changes > booked+added, changes < added+min(booked, 1):
		return fmt.Errorf("%d seats booked, %d added in %d changes", booked, grown, changes)
	case !loop:
	case changes == 0 && a.Epoch == b.Epoch && gap < stockAgain:
		return errors.New("it is told again too soon")
	case gap < stockEvery:
		return errors.New("it is told too soon")
	}
	return nil
}
