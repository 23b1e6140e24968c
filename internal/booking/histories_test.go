package booking

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// Histories are made of short holds, so that all of their ends come about within some
// fifty acts, and of a clock that each act moves on.
var historyRules = Rules{Hold: 300 * time.Millisecond, Grace: 60 * time.Millisecond, Extend: 150 * time.Millisecond}

// Sizes of one history.
const (
	historyClients = 4
	historyActs    = 20               // of each client
	historyTick    = 25               // ms: an act moves the clock on by less than this
	historySkew    = 25               // ms: how far the clocks of two processes are apart
	historyGap     = time.Hour        // between the clocks of two histories: none sees the other's holds as live
	historyMost    = 20 * time.Second // for porcupine, which needs milliseconds: six clients would meet in so many ways that it needed seconds
	historyWrong   = 10               // so many that are wrong are enough, or WAITROOM_HISTORIES_WRONG
)

// historyConfig is how many histories, of which seed, and how many wrong ones are enough.
// WAITROOM_HISTORIES, WAITROOM_SEED and WAITROOM_HISTORIES_WRONG say so; `go run
// ./test/histories` sets them. 200 take 6 s on SQLite and 10
// on MariaDB, and SQLite, which is Go itself, ten times that under the race detector.
func historyConfig(t *testing.T) (count int, seed uint64, enough int) {
	count, seed, enough = 200, rand.Uint64(), historyWrong
	if testing.Short() {
		count = 20
	}
	for name, to := range map[string]*int{"WAITROOM_HISTORIES": &count, "WAITROOM_HISTORIES_WRONG": &enough} {
		s := os.Getenv(name)
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1_000_000 {
			t.Fatalf("%s %q: want 1 to 1000000", name, s)
		}
		*to = n
	}
	if s := os.Getenv("WAITROOM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("WAITROOM_SEED %q: want a number", s)
		}
		seed = n
	}
	return count, seed, enough
}

// TestHistories lets clients of one or two processes hold, confirm, release, leave,
// extend, expire and look, each with a moment of its own, and asks porcupine for an
// order that the rules allow. Afterwards what stands in the tables must be what the
// acts left behind.
func TestHistories(t *testing.T) {
	count, seed, enough := historyConfig(t)
	each(t, func(t *testing.T, dsn string) {
		t.Logf("WAITROOM_SEED=%d", seed)
		stores := []*process{historyStore(t, dsn)}
		if stores[0].db.Dialect == sqldb.MySQL { // SQLite is for one process
			stores = append(stores, historyStore(t, dsn))
		}
		count := count
		if raceDetector && stores[0].db.Dialect == sqldb.SQLite && os.Getenv("WAITROOM_HISTORIES") == "" {
			count /= 5 // CI runs all of them without it
		}
		bad, seen := map[int]bool{}, map[string]int{}
		fail := func(i int, format string, args ...any) {
			if bad[i] = true; len(bad) <= 3 { // the first ones tell enough
				t.Errorf("history %d of seed %d: %s", i, seed, fmt.Sprintf(format, args...))
			}
		}
		began := time.Now()
		var rooms []room.Name
		var longest time.Duration
		for i := range count {
			if len(bad) >= enough {
				break
			}
			h := newHistory(t, stores[:1+i%len(stores)], seed, i)
			rooms = append(rooms, h.room)
			h.run(t.Context())
			for _, s := range h.stores { // nothing of it is on its way when its rows are read
				s.quiet(t)
			}
			if len(h.errs) == 0 {
				h.settle(t.Context())
			}
			h.close(t.Context())
			for _, o := range h.ops {
				kind := o.Input.(input).kind
				if o.Input.(input).unknown {
					kind = "unknown"
				}
				seen[kind]++
			}
			seen[soldOut] += h.soldOut
			seen[thereAgain] += h.thereAgain
			if len(h.errs) > 0 {
				fail(i, "%v", errors.Join(h.errs...))
				continue
			}
			asked := time.Now()
			if got := porcupine.CheckOperationsTimeout(h.model.porcupine(), h.ops, historyMost); got != porcupine.Ok {
				fail(i, "porcupine says %s of\n%s", got, h.model.written(h.ops))
			} else {
				longest = max(longest, time.Since(asked))
			}
		}
		for i, err := range settled(t, stores[0].Store, rooms) {
			fail(i, "%v", err)
		}
		t.Logf("%d histories, %d wrong, in %.1f s, the longest order found in %s: %v",
			len(rooms), len(bad), time.Since(began).Seconds(), longest.Round(time.Millisecond), seen)
		for _, kind := range historyKinds {
			if seen[kind] == 0 && len(rooms) >= 200 {
				t.Errorf("no act was answered with %q: the histories are too tame", kind)
			}
		}
		if t.Failed() {
			t.Logf("again: WAITROOM_SEED=%d WAITROOM_HISTORIES=%d go test -run TestHistories ./internal/booking", seed, count)
		}
	})
}

// historyKinds are the answers that must occur in two hundred histories: the rarest is in one
// of twenty.
var historyKinds = []string{actHeld, actStands, actOpen, actLapsed, actSpent, actTaken, actWasFree, actIdle, actConfirmed, actNotBooked,
	actReleased, actNotReleased, actLeft, actExtended, actTwice, actNotExtended, actExpired, actVisit, actMap, "unknown",
	actAbsent, actOldPass, actNotOld, actAdded, actThere, actCounted, actTold, actNextLine, actReadLine, actKnownLine,
	actBlocked, actNotBlocked, actNoBlock, actUnblocked, soldOut, thereAgain}

// history is one run of several clients in a room of its own.
type history struct {
	stores []*process // of the processes; a client keeps to one
	room   room.Name
	base   time.Time // 0 of the model's clock
	seed   uint64
	number int
	passes [modelPasses]token.Pass
	model  *roomModel
	eager  bool         // who holds seats confirms them: the room sells out
	blocks bool         // an operator blocks seats and gives them back
	calm   bool         // nobody loses patience any more
	clock  atomic.Int32 // ms since base

	began time.Time // of the acts' calls and returns
	mu    sync.Mutex
	// Guarded by mu until all clients have ended:
	ops     []porcupine.Operation
	errs    []error
	known   []knownHold
	slots   uint8
	sweeps  []sweep
	tells   []tell
	claimed map[int32]bool // the moments of all sweeps and tells

	before     int64 // the last fact that was there before it
	soldOut    int   // how often all seats were gone
	thereAgain int   // how often seats were added after that
}

// knownHold is a hold whose id some client was told.
type knownHold struct {
	id   seat.HoldID
	slot uint8
	pass int
}

// sweep is one call of Expire. What it ended is read from the table afterwards: the
// moment of a sweep is no other one's.
type sweep struct {
	client    int
	call, ret int64
	now       int32
	ended     int
	unknown   bool
}

func newHistory(t *testing.T, stores []*process, seed uint64, number int) *history {
	t.Helper()
	h := &history{
		stores: stores, room: room.Name("h" + strconv.Itoa(number)), base: noon.Add(time.Duration(number) * historyGap),
		seed: seed, number: number, eager: number/2%2 == 0, blocks: number%5 < 2, began: time.Now(), claimed: map[int32]bool{},
		model: &roomModel{hold: int32(historyRules.Hold.Milliseconds()), grace: int32(historyRules.Grace.Milliseconds()),
			extend: int32(historyRules.Extend.Milliseconds())},
	}
	random := rand.New(rand.NewPCG(seed, uint64(number)))
	for i := range h.passes {
		h.passes[i] = newPass()
		h.passes[i].Room = h.room
		if !oldLine(i) {
			h.passes[i].Epoch = historyNext
		}
		h.model.expires[i] = int32(100 + random.IntN(1500)) // some before their first hold is over
		if h.eager {
			h.model.expires[i] += 600
		}
		h.passes[i].Expires = h.at(h.model.expires[i])
	}
	if err := h.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *history) at(ms int32) time.Time { return h.base.Add(time.Duration(ms) * time.Millisecond) }

// real is the moment of a call or a return, in the machine's time.
func (h *history) real() int64 { return time.Since(h.began).Nanoseconds() }

// never is the return of an act whose outcome is unknown.
const never = math.MaxInt64

func (h *history) add(client int, call int64, a input, o any) {
	ret := h.real()
	if a.unknown {
		ret = never
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: a, Call: call, Output: o, Return: ret})
}

func (h *history) fail(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, fmt.Errorf(format, args...))
}

// run lets all clients act at once and waits for them.
func (h *history) run(ctx context.Context) {
	at(historyClients, func(i int) {
		c := &client{history: h, number: i, store: h.stores[i%len(h.stores)], of: i % len(h.stores),
			random: rand.New(rand.NewPCG(h.seed, uint64(h.number)<<8+uint64(i)+1))}
		if i%len(h.stores) == 1 {
			c.skew = historySkew
		}
		for range historyActs {
			c.act(ctx)
		}
	})
}

// settle sweeps what is left, looks at everything, and says which sweep ended which
// hold and which of the unknown acts it was that made one.
func (h *history) settle(ctx context.Context) {
	c := &client{history: h, number: historyClients, store: h.stores[0], random: rand.New(rand.NewPCG(h.seed, 0))}
	h.calm = true
	h.clock.Add(10_000) // all is over
	for before := -1; before != len(h.sweeps) && len(h.errs) == 0; {
		before = len(h.sweeps)
		if c.expire(ctx) == 0 {
			break
		}
	}
	for i := range h.passes {
		c.visit(ctx, i)
	}
	c.look(ctx)
	c.count(ctx)
	var rows []struct {
		ID        seat.HoldID `db:"id"`
		Admission string      `db:"admission"`
		Seats     string      `db:"seats"`
		State     string      `db:"state"`
		UntilMS   int64       `db:"until_ms"`
		EndedMS   int64       `db:"ended_ms"`
		Extended  bool        `db:"extended"`
	}
	if err := h.stores[0].db.SelectContext(ctx, &rows, "SELECT id, admission, seats, state, until_ms, ended_ms, extended FROM holds WHERE room = ?", h.room); err != nil {
		h.fail("%w", err)
		return
	}
	var left remains
	ended := map[int32]int{}
	for _, r := range rows {
		slot, ok := h.slot(r.ID)
		if !ok {
			if slot, ok = h.adopt(r.ID, r.Admission, r.Seats, h.since(r.UntilMS), r.Extended); !ok {
				h.fail("a hold of %s that nobody was granted", r.Seats)
				return
			}
		}
		left.states[slot], left.extended[slot] = r.State, r.Extended
		if r.State == expired {
			now := h.since(r.EndedMS)
			ended[now]++
			i := slices.IndexFunc(h.sweeps, func(s sweep) bool { return s.now == now })
			if i < 0 {
				h.fail("hold %d expired at %d, when nobody swept", slot, now)
				return
			}
			s := h.sweeps[i]
			h.ops = append(h.ops, porcupine.Operation{ClientId: s.client, Call: s.call, Return: s.ret,
				Input: input{kind: actExpired, slot: slot, pass: h.model.slots[slot].pass, now: now}, Output: answer{}})
		}
	}
	for _, s := range h.sweeps {
		if !s.unknown && s.ended != ended[s.now] {
			h.fail("a sweep at %d says that it ended %d holds, the table says %d", s.now, s.ended, ended[s.now])
		}
	}
	for i, p := range h.passes {
		var spent []int64
		if err := h.stores[0].db.SelectContext(ctx, &spent, "SELECT spent_ms FROM admissions WHERE id = ?", p.Admission.String()); err != nil {
			h.fail("%w", err)
		}
		left.spent[i] = len(spent) == 1 && spent[0] != 0
	}
	h.resolve()
	if err := h.stores[0].db.GetContext(ctx, &left.stock, "SELECT "+stockColumns+" FROM stock WHERE room = ?", h.room); err != nil {
		h.fail("%w", err)
	}
	if err := h.stores[0].db.GetContext(ctx, &left.seats, "SELECT COUNT(*) FROM seats WHERE room = ?", h.room); err != nil {
		h.fail("%w", err)
	}
	h.forget(left)
	for _, o := range h.ops { // those that are left happened
		if a := o.Input.(input); a.kind == actHeld && a.unknown && oldLine(a.pass) {
			h.ops = append(h.ops, porcupine.Operation{ClientId: o.ClientId, Call: o.Call, Return: never,
				Input: input{kind: actNotOld, pass: a.pass, now: a.now, process: a.process}, Output: answer{}})
		}
	}
	h.settleStock(ctx)
}

// forget leaves out acts without an answer of which the rows say that they never
// happened: what each of them does is never undone. Porcupine would try them everywhere.
func (h *history) forget(left remains) {
	h.ops = slices.DeleteFunc(h.ops, func(o porcupine.Operation) bool {
		a := o.Input.(input)
		if !a.unknown {
			return false
		}
		switch a.kind {
		case actHeld:
			return left.states[a.slot] == ""
		case actConfirmed:
			return left.states[a.slot] != confirmed
		case actReleased:
			return left.states[a.slot] != released
		case actLeft:
			return !left.spent[a.pass]
		case actExtended:
			return !left.extended[a.slot]
		case actAdded:
			return left.seats == modelFirst
		}
		return false
	})
}

// remains is what the rows of a history say at its end.
type remains struct {
	states   [modelHolds + 1]string // by slot; "": there is none
	extended [modelHolds + 1]bool
	spent    [modelPasses]bool
	stock    stockRow
	seats    int // rows, blocked ones too
}

// slot is that of a hold whose id is known.
func (h *history) slot(id seat.HoldID) (uint8, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.known {
		if k.id == id {
			return k.slot, true
		}
	}
	return 0, false
}

// since is a moment of a row on the model's clock.
func (h *history) since(ms int64) int32 { return int32(ms - h.base.UnixMilli()) }

// adopt gives a hold that no answer named to the Hold without an answer that asked for
// it: for these seats, and at a moment that gives this deadline.
func (h *history) adopt(id seat.HoldID, admission, seats string, until int32, extended bool) (uint8, bool) {
	for _, o := range h.ops {
		a := o.Input.(input)
		if a.kind != actHeld || !a.unknown || a.seats.String() != seats || h.passes[a.pass].Admission.String() != admission {
			continue
		}
		if made := h.model.until(a.pass, a.now); made != until && !(extended && made < until) {
			continue
		}
		if slices.ContainsFunc(h.known, func(k knownHold) bool { return k.slot == a.slot }) {
			continue
		}
		h.known = append(h.known, knownHold{id, a.slot, a.pass})
		return a.slot, true
	}
	return 0, false
}

// told is an answer that names holds by their ids. Who was granted one may not have
// said so yet, or was never answered; at the end every hold has a slot.
type told struct {
	answer
	hold, booking seat.HoldID
}

// resolve replaces ids by slots in everything that was told.
func (h *history) resolve() {
	for i, o := range h.ops {
		t, ok := o.Output.(told)
		if !ok {
			continue
		}
		var slots [2]uint8
		for j, id := range []seat.HoldID{t.hold, t.booking} {
			if slots[j], ok = h.slot(id); !ok && id != "" {
				h.fail("%s told of a hold that is in no table", o.Input.(input).kind)
				return
			}
		}
		if a := o.Input.(input); a.kind == actStands {
			a.slot = slots[0]
			h.ops[i].Input = a
		} else {
			t.answer.hold, t.answer.booking = slots[0], slots[1]
		}
		h.ops[i].Output = t.answer
	}
}
