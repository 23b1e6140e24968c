package linetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"waitroom/internal/room"
)

// Admitter is what an admitter asks of the line, beside Rooms. A test of the admission
// holds that both together are what it uses.
type Admitter interface {
	Status(context.Context, room.Name) (room.Status, error)
	Set(context.Context, room.Name, room.Change) (room.Changed, error)
	Admit(ctx context.Context, name room.Name, caller room.Caller, limit int) (room.Round, error)
	Oldest(context.Context, room.Name) (time.Time, error)
	Recreate(context.Context, room.Name, room.Caller, room.Saved) error
	ReadOutbox(ctx context.Context, name room.Name, limit int) ([]room.Entry, error)
	Relayed(ctx context.Context, name room.Name, caller room.Caller, entries []room.Entry) error
	Keep(ctx context.Context, name room.Name, ids []string) error
	FinishAll(ctx context.Context, name room.Name, caller room.Caller, places []room.Place) (freed int, err error)
	Stock(context.Context, room.Name, room.Epoch, room.Stock) (newer bool, err error)
	Signs(context.Context) (now time.Time, signs []room.Sign, err error)
	Lanes(context.Context, room.Name) ([]room.LaneState, error)
	GiveBack(ctx context.Context, name room.Name, caller room.Caller, lane room.Lane, told bool) (given int, err error)
	Away(ctx context.Context, name room.Name, limit int) ([]room.Number, error)
	Reap(ctx context.Context, name room.Name, caller room.Caller, numbers []room.Number) (reaped int, err error)
	Expire(context.Context) (removed []room.Name, err error)
	Rooms
	Marks
}

// AdmitterStage is a room as an admitter meets it.
type AdmitterStage struct {
	Hands
	Line Admitter
	// Unsure: nobody tells who is there, so that nobody can say who is away.
	Unsure func()
	// Absent: for the room's grace nobody saw those, and everybody else who waits was
	// seen.
	Absent func(...room.Number)
	// Seen: a node sees who has that place.
	Seen func(room.Place)
	// Abandon: what was read of the outbox so far, and is not acknowledged, was last
	// handed out or kept long ago.
	Abandon func()
	Sign    func(room.Sign) // by some process
}

type admitter struct {
	*AdmitterStage
	t    *testing.T
	ctx  context.Context
	mark room.Number
}

// Admitters runs the admitter's part of the contract. on sets a stage with a room of that
// conf, calls play, and clears it.
func Admitters(t *testing.T, on func(t *testing.T, conf room.Conf, play func(*testing.T, *AdmitterStage))) {
	for _, story := range []struct {
		name string
		conf func(*room.Conf) // nil: usual
		tell func(*admitter)
	}{
		{"rounds in order of number", nil, (*admitter).order},
		{"rate and burst", func(c *room.Conf) { c.Rate, c.Burst = 10_000, 4 }, (*admitter).rate},
		{"slots", func(c *room.Conf) { c.MaxActive = 4 }, (*admitter).slots},
		{"a paused room", nil, (*admitter).paused},
		{"a closed room", nil, (*admitter).closed},
		{"a room that opens", func(c *room.Conf) { c.State = room.Opening }, (*admitter).opens},
		{"a room that is sold out", nil, (*admitter).soldOut},
		{"seats that are left", nil, (*admitter).stock},
		{"seats left of a room that an operator stopped", nil, (*admitter).stockOfStopped},
		{"a full outbox", func(c *room.Conf) { c.Rate, c.Burst = 1_000, 50_000 }, (*admitter).fullOutbox},
		{"the outbox", nil, (*admitter).outbox},
		{"entries in somebody's hands", nil, (*admitter).hands},
		{"who is done", nil, (*admitter).finish},
		{"the status", nil, (*admitter).status},
		{"changes by flags", nil, (*admitter).set},
		{"a loss", nil, (*admitter).loss},
		{"a line brought back", nil, (*admitter).recreated},
		{"a line that was ended", nil, (*admitter).ended},
		{"who is away", nil, (*admitter).away},
		{"nobody can say who is away", nil, (*admitter).unsure},
		{"the batch of a dead node", nil, (*admitter).lanes},
		{"another epoch", nil, (*admitter).epochs},
		{"no such room", nil, (*admitter).nowhere},
		{"signs of life", nil, (*admitter).signs},
		{"marks of busy rooms", nil, func(a *admitter) { marks(a.t, a.Line, a.Name) }},
	} {
		t.Run(story.name, func(t *testing.T) {
			conf := usual()
			if story.conf != nil {
				story.conf(&conf)
			}
			on(t, conf, func(t *testing.T, s *AdmitterStage) {
				story.tell(&admitter{AdmitterStage: s, t: t, ctx: background()})
			})
		})
	}
}

func (a *admitter) by() room.Caller {
	return room.Caller{Epoch: a.Conf.Epoch, Mark: a.mark, Process: "admitter"}
}

// idle is the longest that a round says nothing can be expected.
const idle = 100 * time.Millisecond

// round runs one and holds what is true of each: so many let in, why it stopped, when the
// next is due.
func (a *admitter) round(what string, limit, admitted int, stop room.Stop) room.Round {
	a.t.Helper()
	r, err := a.Line.Admit(a.ctx, a.Name, a.by(), limit)
	if err != nil || r.Admitted != admitted || r.Stop != stop {
		a.t.Fatalf("%s: got %+v, %v, want %d let in, stopped by %s", what, r, err, admitted, stop)
	}
	if stop == room.StopMore && r.Due != 0 || stop != room.StopMore && (r.Due <= 0 || r.Due > idle) {
		a.t.Errorf("%s: got the next round due in %v, after %s", what, r.Due, stop)
	}
	a.mark = max(a.mark, r.Seq)
	return r
}

// read takes everything that the outbox hands out now.
func (a *admitter) read(limit int) []room.Entry {
	a.t.Helper()
	entries, err := a.Line.ReadOutbox(a.ctx, a.Name, limit)
	must(a.t, "read the outbox", err)
	return entries
}

func admitted(entries []room.Entry) (all []room.Admitted) {
	for _, e := range entries {
		all = append(all, e.Admitted...)
	}
	return all
}

func (a *admitter) order() {
	t := a.t
	empty := a.round("nobody waits", 10, 0, room.StopEmpty)
	if empty.Seq != 0 || empty.Waiting != 0 || empty.Last != 0 || empty.State != room.Open || empty.Rate != a.Conf.Rate || empty.MaxActive != a.Conf.MaxActive {
		t.Errorf("an empty room: got %+v", empty)
	}
	p := a.Join(10)
	a.Leave(p[1])
	first := a.round("a limit", 3, 3, room.StopMore)
	if first.Last != 4 || first.Seq != 10 || first.Waiting != 6 || first.Slots != 3 || first.Outbox != 3 || first.Total != 3 {
		t.Errorf("first round: got %+v, want numbers 1, 3 and 4", first)
	}
	if none := a.round("a limit of none", 0, 0, room.StopMore); none.Last != 0 || none.Total != 3 {
		t.Errorf("a limit of none: got %+v", none)
	}
	rest := a.round("the others", room.MaxRound, 6, room.StopEmpty)
	if rest.Last != 10 || rest.Waiting != 0 || rest.Slots != 9 || rest.Outbox != 9 || rest.Total != 9 || rest.Rev != empty.Rev || rest.Losses != 0 {
		t.Errorf("last round: got %+v, want everybody in", rest)
	}
	var numbers []room.Number
	for _, e := range admitted(a.read(100)) {
		numbers = append(numbers, e.Number)
		if e.Visitor != p[e.Number-1].Visitor || e.Epoch != a.Conf.Epoch || !near(a.Now().Sub(e.At), 0) {
			t.Errorf("in the outbox: got %+v, want visitor %s", e, p[e.Number-1].Visitor)
		}
	}
	if fmt.Sprint(numbers) != "[1 3 4 5 6 7 8 9 10]" {
		t.Errorf("in the outbox: got %v", numbers)
	}
}

// rate: 10 a second. A stage begins with a full bucket, of 4.
func (a *admitter) rate() {
	t := a.t
	a.Join(30)
	r := a.round("a full bucket", 10, 4, room.StopRate)
	if !near(r.Due, idle) {
		t.Errorf("got the next due in %v, want a tenth of a second", r.Due)
	}
	a.Pass(50 * time.Millisecond)
	if r = a.round("half a visitor later", 10, 0, room.StopRate); !near(r.Due, 50*time.Millisecond) {
		t.Errorf("got the next due in %v, want the other half", r.Due)
	}
	a.Pass(r.Due)
	a.round("when it is due", 10, 1, room.StopRate)
	a.Pass(250 * time.Millisecond)
	a.round("two and a half later", 10, 2, room.StopRate)
	a.Pass(time.Hour)
	a.round("an hour later", 10, 4, room.StopRate)
	a.Pass(300 * time.Millisecond)
	a.round("a limit of one", 1, 1, room.StopMore)
	a.round("what was left", 10, 2, room.StopRate)
}

// slots: four. A claim keeps one, a missed claim and a finished visitor give one back.
func (a *admitter) slots() {
	t := a.t
	p := a.Join(12)
	if r := a.round("four slots", 10, 4, room.StopCap); r.Slots != 4 || r.MaxActive != 4 {
		t.Errorf("got %+v, want every slot taken", r)
	}
	a.round("none is free", 10, 0, room.StopCap)
	a.Claim(p[0])
	a.Claim(p[1])
	a.Finish(p[1])
	a.Leave(p[2])
	if r := a.round("one is done, one left", 10, 2, room.StopCap); r.Last != 6 || r.Slots != 4 {
		t.Errorf("got %+v, want 5 and 6 in", r)
	}
	a.Pass(a.Conf.Claim + time.Second) // 4, 5 and 6 miss their turns
	if r := a.round("three missed", 1, 1, room.StopMore); r.Missed != 3 || r.Slots != 2 || r.Lapsed != 0 {
		t.Errorf("got %+v, want three missed, and two slots taken", r)
	}
	a.Claim(p[6])
	a.Pass(a.Conf.Pass + time.Second)
	if r := a.round("passes are over", 10, 4, room.StopCap); r.Lapsed != 2 || r.Missed != 0 || r.Slots != 4 {
		t.Errorf("got %+v, want two lapsed", r)
	}
	if r := a.round("again", 10, 0, room.StopCap); r.Lapsed != 0 || r.Missed != 0 || r.Waiting != 1 {
		t.Errorf("again: got %+v, want each counted once", r)
	}
	// A lower cap takes nobody's slot.
	a.Set(room.Change{Actor: "ann", MaxActive: ptr(int64(2))})
	if r := a.round("a lower cap", 10, 0, room.StopCap); r.Slots != 4 || r.MaxActive != 2 {
		t.Errorf("a lower cap: got %+v", r)
	}
}

func (a *admitter) paused() {
	a.Join(2)
	rev := a.round("open", 1, 1, room.StopMore).Rev
	a.Set(room.Change{Actor: "ann", State: ptr(room.Paused)})
	if r := a.round("paused", 10, 0, room.StopPaused); r.State != room.Paused || r.Waiting != 1 || r.Rev <= rev {
		a.t.Errorf("paused: got %+v, want the state and a rev above %d", r, rev)
	}
	a.Set(room.Change{Actor: "ann", State: ptr(room.Open)})
	a.round("open again", 10, 1, room.StopEmpty)
}

func (a *admitter) closed() {
	a.Join(2)
	a.Set(room.Change{Actor: "ann", State: ptr(room.Closed)})
	if r := a.round("closed", 10, 0, room.StopClosed); r.State != room.Closed || r.Waiting != 2 {
		a.t.Errorf("closed: got %+v", r)
	}
	a.SoldOut()
	a.round("closed, and sold out", 10, 0, room.StopClosed)
}

func (a *admitter) opens() {
	a.Join(2)
	a.round("by an operator", 10, 0, room.StopOpening)
	opens := a.Now().Add(time.Second).Truncate(time.Millisecond)
	a.Set(room.Change{Actor: "ann", OpensAt: &opens})
	if r := a.round("in a second", 10, 0, room.StopOpening); r.Due != idle {
		a.t.Errorf("got the next due in %v, want %v: no round is later", r.Due, idle)
	}
	a.Pass(opens.Sub(a.Now()) - 20*time.Millisecond)
	if r := a.round("in a moment", 10, 0, room.StopOpening); r.Due != 20*time.Millisecond {
		a.t.Errorf("got the next due in %v, want the moment", r.Due)
	}
	a.Pass(20 * time.Millisecond)
	if r := a.round("now", 10, 2, room.StopEmpty); r.State != room.Opening {
		a.t.Errorf("got %s, want opening still, which nobody has to write", r.State)
	}
}

func (a *admitter) rev() int64 {
	a.t.Helper()
	s, err := a.Line.Status(a.ctx, a.Name)
	must(a.t, "status", err)
	return s.Conf.Rev
}

// fullOutbox: what Kafka has not acknowledged is bounded, and rounds go on once it has.
func (a *admitter) fullOutbox() {
	t := a.t
	a.Set(room.Change{Actor: "ann", MaxActive: ptr(int64(room.MaxActive))})
	bound := int(room.OutboxBound(a.Conf.Rate))
	a.Join(bound + 10)
	a.Pass(12 * time.Hour)
	for n := 0; n < bound; n += room.MaxRound {
		stop := room.StopMore
		if n+room.MaxRound >= bound {
			stop = room.StopOutbox
		}
		a.round("up to the bound", room.MaxRound, min(room.MaxRound, bound-n), stop)
	}
	if r := a.round("at the bound", 10, 0, room.StopOutbox); r.Outbox != int64(bound) || r.Waiting != 10 {
		t.Errorf("got %+v, want the bound of %d", r, bound)
	}
	first := a.read(1)
	must(t, "relayed", a.Line.Relayed(a.ctx, a.Name, a.by(), first))
	a.round("once some left", 100, 10, room.StopEmpty)
}

func (a *admitter) outbox() {
	t := a.t
	if got, err := a.Line.Oldest(a.ctx, a.Name); err != nil || !got.IsZero() {
		t.Errorf("the oldest of none: got %v, %v, want no time", got, err)
	}
	if got := a.read(10); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
	a.Join(130)
	a.round("two entries and a half", 125, 125, room.StopMore)
	at := a.Now()
	a.Pass(time.Second)
	a.round("one more", 10, 5, room.StopEmpty)
	if got, err := a.Line.Oldest(a.ctx, a.Name); err != nil || !near(at.Sub(got), 0) {
		t.Errorf("the oldest: got %v, %v, want %v", got, err, at)
	}
	if got := a.read(0); len(got) != 0 {
		t.Errorf("a limit of none: got %v", got)
	}
	some := a.read(2)
	rest := a.read(100)
	if len(some) != 2 || len(rest) != 2 {
		t.Fatalf("got %d and %d entries, want 2 and 2", len(some), len(rest))
	}
	all := slices.Concat(some, rest)
	for i, size := range []int{50, 50, 25, 5} {
		if e := all[i]; len(e.Admitted) != size || e.Count != size || e.Err != nil || e.ID == "" {
			t.Errorf("entry %d: got %d admissions, count %d, %v, want %d", i, len(e.Admitted), e.Count, e.Err, size)
		}
	}
	for i, e := range admitted(all) {
		if e.Number != room.Number(i+1) {
			t.Fatalf("got number %d in place %d, want each once, in order", e.Number, i+1)
		}
	}
	depth := func(what string, want int64) {
		t.Helper()
		if s, err := a.Line.Status(a.ctx, a.Name); err != nil || s.Outbox != want {
			t.Errorf("%s: got %d in the outbox, %v, want %d", what, s.Outbox, err, want)
		}
	}
	depth("read", 130)
	must(t, "relayed", a.Line.Relayed(a.ctx, a.Name, a.by(), rest))
	depth("two relayed", 100)
	must(t, "relayed again", a.Line.Relayed(a.ctx, a.Name, a.by(), rest))
	depth("again", 100)
	must(t, "relayed", a.Line.Relayed(a.ctx, a.Name, a.by(), some))
	depth("all relayed", 0)
	must(t, "relayed of none", a.Line.Relayed(a.ctx, a.Name, a.by(), nil))
	if got, err := a.Line.Oldest(a.ctx, a.Name); err != nil || !got.IsZero() {
		t.Errorf("the oldest once all left: got %v, %v, want no time", got, err)
	}
}

// hands: an entry is handed out once, and again when whoever had it let it lie.
func (a *admitter) hands() {
	t := a.t
	a.Join(100)
	a.round("two entries", 100, 100, room.StopEmpty)
	first := a.read(10)
	if len(first) != 2 {
		t.Fatalf("got %d entries, want 2", len(first))
	}
	if again := a.read(10); len(again) != 0 {
		t.Errorf("while somebody has them: got %v, want nothing", again)
	}
	a.Abandon()
	must(t, "keep", a.Line.Keep(a.ctx, a.Name, []string{first[0].ID, "1-1"}))
	again := a.read(10)
	if len(again) != 1 || again[0].ID != first[1].ID || len(again[0].Admitted) != 50 {
		t.Errorf("when they lay, and one is kept: got %d entries, want the other one", len(again))
	}
	must(t, "relayed", a.Line.Relayed(a.ctx, a.Name, a.by(), first[:1]))
	a.Abandon()
	if again = a.read(10); len(again) != 1 || again[0].ID != first[1].ID {
		t.Errorf("when one is relayed: got %d entries, want the other one", len(again))
	}
	must(t, "keep none", a.Line.Keep(a.ctx, a.Name, nil))
}
