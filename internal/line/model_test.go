package line

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"waitroom/internal/rank"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// The seed of this process: both servers see the same steps. A failure prints it,
// and -rapid.seed brings it back.
var modelSeed = strconv.FormatUint(uint64(time.Now().UnixNano())>>1, 10)

// TestModel walks a line by random steps, each with a lost reply or a crash now
// and then, and compares it after every step with a model in plain Go.
func TestModel(t *testing.T) {
	t.Run("redis", func(t *testing.T) { walk(t, testenv.Redis(t), "60", asTheyAre) })
	t.Run("cluster", func(t *testing.T) { walk(t, testenv.Cluster(t), "30", asTheyAre) })
	t.Run("miniredis", func(t *testing.T) { walk(t, mini(t), "15", asTheyAre) })
}

// rapidly sets how much rapid does in a test, unless the command line says it.
func rapidly(t *testing.T, checks, steps string) {
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.steps": steps, "rapid.seed": modelSeed} {
		f := flag.Lookup(name)
		before := f.Value.String()
		if before != f.DefValue {
			continue
		}
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(before) })
	}
}

// casting changes who does the actions of a walk.
type casting func(actions map[string]func(*rapid.T)) map[string]func(*rapid.T)

func asTheyAre(actions map[string]func(*rapid.T)) map[string]func(*rapid.T) { return actions }

func walk(t *testing.T, rdb redis.UniversalClient, checks string, with casting) {
	rapidly(t, checks, "60")
	loss := &lossy{}
	rdb.AddHook(loss)
	name := roomName(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt, rdb, loss, name)
		defer m.lines.Delete(background(), name, true, "model")
		rt.Repeat(with(map[string]func(*rapid.T){
			"":         m.check,
			"join":     m.join,
			"join two": m.join, // twice as often, so that somebody waits
			"again":    m.joinAgain,
			"rejoin":   m.rejoin,
			"admit":    m.admit,
			"rounds":   m.admit,
			"claim":    m.claim,
			"leave":    m.leave,
			"finish":   m.finish,
			"relay":    m.relay,
			"reclaim":  m.reclaim,
			"set":      m.set,
			"time":     m.time,
			"refused":  m.refused,
		}))
	})
}

// batch is a join batch that a lane sent last.
type batch struct {
	lane     room.Lane
	visitors []room.VisitorID
	joined   room.Joined
}

// round is what one admit call did.
type round struct {
	us       int64
	admitted int64
	burst    int64
	area     int64 // ∫ rate from the start, in 1e-9 visitors
}

// model is the line in plain Go: one visitor is in one list, and every number
// ever given is known.
type model struct {
	rdb   redis.UniversalClient
	loss  *lossy
	lines *Lines
	clock *hand
	name  room.Name

	conf      room.Conf
	event     room.Event
	seq       room.Number
	places    []room.Place // every place ever given
	waiting   []room.Place // in order of number
	unclaimed map[room.VisitorID]int64
	active    map[room.VisitorID]int64
	outbox    []room.Place
	read      []room.Entry // some relay has read and not acknowledged them
	last      map[string]*batch
	credit    int64 // 1e-9 visitors
	creditAt  int64
	area      int64 // ∫ rate from the start, in 1e-9 visitors
	areaAt    int64
	rounds    []round
	stats     room.Stats
}

func newModel(t *rapid.T, rdb redis.UniversalClient, loss *lossy, name room.Name) *model {
	m := &model{rdb: rdb, loss: loss, clock: newHand(), name: name,
		unclaimed: map[room.VisitorID]int64{}, active: map[room.VisitorID]int64{}, last: map[string]*batch{}}
	m.lines = New(rdb, WithClock(m.clock.now))
	m.conf = room.DefaultConf()
	m.conf.Epoch, m.conf.State = room.NewEpoch(), room.Open
	m.conf.Claim, m.conf.Pass = room.MinClaim, room.MinPass
	m.conf.Rate = room.Rate(rapid.SampledFrom([]int64{100, 7_333, 50_000, 2_000_000}).Draw(t, "rate"))
	m.conf.Burst = max(m.conf.Rate.MinBurst(), rapid.Int64Range(1, 60).Draw(t, "burst"))
	m.conf.MaxActive = rapid.Int64Range(1, 40).Draw(t, "cap")
	m.conf.MaxWaiting = rapid.Int64Range(1, 80).Draw(t, "max waiting")
	m.creditAt, m.areaAt = m.clock.now(), m.clock.now()
	if err := m.lines.Create(background(), name, m.conf, "model"); err != nil {
		t.Fatalf("create: %v", err)
	}
	return m
}

func (m *model) by() room.Caller { return room.Caller{Epoch: m.conf.Epoch, Mark: m.seq, Process: "p"} }

// twice makes one call, now and then with its reply lost: then it took effect,
// the caller sees ErrAway, and call is made again unless the caller crashed. done
// is false for a crash, where nobody learns the answer.
func (m *model) twice(t *rapid.T, effect func(), call func() error) (repeated, done bool) {
	fate := rapid.SampledFrom([]string{"", "", "", "lost", "crash"}).Draw(t, "fate")
	if fate == "" {
		if err := call(); errors.Is(err, room.ErrAway) {
			t.Fatalf("got %v, with no reply lost", err)
		}
		return false, true
	}
	m.loss.next.Store(true)
	if err := call(); !errors.Is(err, room.ErrAway) {
		t.Fatalf("a call whose reply was lost: got %v, want %v", err, room.ErrAway)
	}
	if m.loss.next.Load() {
		t.Fatalf("no script ran")
	}
	effect()
	if fate == "crash" {
		return false, false
	}
	if err := call(); errors.Is(err, room.ErrAway) {
		t.Fatalf("the second call: got %v", err)
	}
	return true, true
}

func (m *model) join(t *rapid.T) {
	lane := room.Lane{Name: rapid.SampledFrom([]string{"a-0", "a-1", "b-0"}).Draw(t, "lane"), Batch: 1}
	if last := m.last[lane.Name]; last != nil {
		lane.Batch = last.lane.Batch + 1
	}
	b := &batch{lane: lane, visitors: visitors(rapid.IntRange(1, 12).Draw(t, "visitors"))}
	var want error
	var asked = int64(len(b.visitors))
	effect := func() {
		switch {
		case m.conf.State == room.Closed:
			want = room.ErrClosed
			m.stats.Refused += asked
			return
		case m.conf.SoldOut:
			want = room.ErrSoldOut
			m.stats.Refused += asked
			return
		}
		granted := max(0, min(asked, m.conf.MaxWaiting-int64(len(m.waiting))))
		m.stats.Joined += granted
		m.stats.Refused += asked - granted
		if granted == 0 {
			b.joined = room.Joined{}
			return
		}
		b.joined = room.Joined{First: m.seq + 1, Granted: int(granted)}
		for i := range granted {
			m.seq++
			p := room.Place{Visitor: b.visitors[i], Number: m.seq}
			m.places = append(m.places, p)
			m.waiting = append(m.waiting, p)
		}
		m.last[lane.Name] = b
	}
	var got room.Joined
	var err error
	by := m.by()
	repeated, done := m.twice(t, effect, func() error {
		got, err = m.lines.Join(background(), m.name, by, lane, b.visitors)
		return err
	})
	if !done {
		return
	}
	if !repeated || b.joined.Granted == 0 {
		effect() // a refusal is no outcome to repeat: it is counted again
	}
	wantJoined := b.joined
	wantJoined.Repeated = repeated && b.joined.Granted > 0
	if !sameJoined(got, wantJoined) || !errors.Is(err, want) {
		t.Fatalf("join of %d by %v, repeated %v: got %+v, %v, want %+v, %v", asked, lane, repeated, got, err, wantJoined, want)
	}
}

// joinAgain sends a lane's last batch once more, long after, and an older one.
func (m *model) joinAgain(t *rapid.T) {
	name := rapid.SampledFrom([]string{"a-0", "a-1", "b-0"}).Draw(t, "lane")
	b := m.last[name]
	if b == nil {
		t.Skip("the lane never joined anyone")
	}
	want := b.joined
	want.Repeated = true
	got, err := m.lines.Join(background(), m.name, m.by(), b.lane, b.visitors)
	if !sameJoined(got, want) || err != nil {
		t.Fatalf("batch %v again: got %+v, %v, want %+v", b.lane, got, err, want)
	}
	older := b.lane
	older.Batch--
	if _, err := m.lines.Join(background(), m.name, m.by(), older, visitors(2)); err != room.ErrStaleBatch {
		t.Fatalf("batch %v after %v: got %v, want %v", older, b.lane, err, room.ErrStaleBatch)
	}
}

// stand is the model's answer for one place.
func (m *model) stand(p room.Place) room.Stand {
	deadline := func(s room.Standing, ms int64) room.Stand {
		if ms <= m.clock.ms() {
			return room.Stand{Standing: room.Gone}
		}
		return room.Stand{Standing: s, Deadline: micros(ms * 1000), Left: time.Duration(ms*1000-m.clock.now()) * time.Microsecond}
	}
	if ms, in := m.active[p.Visitor]; in {
		return deadline(room.Active, ms)
	}
	if ms, in := m.unclaimed[p.Visitor]; in {
		return deadline(room.Unclaimed, ms)
	}
	if slices.Contains(m.waiting, p) {
		return room.Stand{Standing: room.Waiting}
	}
	return room.Stand{Standing: room.Gone}
}

func (m *model) place(t *rapid.T) room.Place {
	if len(m.places) == 0 {
		t.Skip("nobody joined yet")
	}
	p := rapid.SampledFrom(m.places).Draw(t, "place")
	// Now and then a stranger's number, which must never touch the stranger.
	if rapid.IntRange(0, 9).Draw(t, "forged") == 0 {
		p.Number = rapid.SampledFrom(m.places).Draw(t, "number").Number
	}
	return p
}

func (m *model) rejoin(t *rapid.T) {
	places := []room.Place{m.place(t), m.place(t), m.place(t)}
	want := []room.Stand{m.stand(places[0]), m.stand(places[1]), m.stand(places[2])}
	got, err := m.lines.Rejoin(background(), m.name, m.by(), places)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("rejoin of %v: got %v, %v, want %v", places, got, err, want)
	}
	got, err = m.lines.Stands(background(), m.name, places)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("stands of %v: got %v, %v, want %v", places, got, err, want)
	}
}

// settle counts the credit and the area under the rate up to now.
func (m *model) settle() {
	rate, now := int64(m.conf.Rate), m.clock.now()
	most := m.conf.Burst * 1_000_000_000
	if hi, gain := bits.Mul64(uint64(now-m.creditAt), uint64(rate)); hi != 0 || gain > uint64(most) {
		m.credit = most
	} else {
		m.credit = min(most, m.credit+int64(gain))
	}
	m.creditAt = now
	m.area += (now - m.areaAt) * rate // of a test's minutes: far below 2^63
	m.areaAt = now
}

func (m *model) admit(t *rapid.T) {
	limit := rapid.SampledFrom([]int{1, 3, 10, room.MaxRound}).Draw(t, "limit")
	var want room.Round
	effect := func() { want = m.round(limit) }
	var got room.Round
	var err error
	if _, done := m.twice(t, effect, func() error {
		got, err = m.lines.Admit(background(), m.name, m.by(), limit)
		return err
	}); !done {
		return
	}
	effect()    // a second call is the next round
	got.Rev = 0 // of operators' acts
	if err != nil || got != want {
		t.Fatalf("admit of %d: got %+v, %v, want %+v", limit, got, err, want)
	}
}

// round is one round of the model.
func (m *model) round(limit int) room.Round {
	var r room.Round
	prune := func(set map[room.VisitorID]int64) (n int) {
		for v, ms := range set {
			if ms <= m.clock.ms() {
				delete(set, v)
				n++
			}
		}
		return n
	}
	r.Missed, r.Lapsed = prune(m.unclaimed), prune(m.active)
	m.stats.Missed += int64(r.Missed)
	m.stats.Lapsed += int64(r.Lapsed)
	slots := int64(len(m.unclaimed) + len(m.active))
	finish := func(stop room.Stop, due time.Duration) room.Round {
		r.Stop, r.Due = stop, due
		r.Slots, r.Waiting, r.Outbox = int64(len(m.unclaimed)+len(m.active)), int64(len(m.waiting)), int64(len(m.outbox))
		r.Total, r.Now, r.State, r.SoldOut = m.stats.Admitted, m.clock.at(), m.conf.State, m.conf.SoldOut
		r.Rate, r.MaxActive, r.Seq = m.conf.Rate, m.conf.MaxActive, m.seq
		return r
	}
	const idle = 100 * time.Millisecond
	switch {
	case m.conf.State == room.Closed:
		return finish(room.StopClosed, idle)
	case m.conf.SoldOut:
		return finish(room.StopSoldOut, idle)
	case m.conf.State == room.Paused:
		return finish(room.StopPaused, idle)
	case m.conf.State == room.Opening && (m.conf.OpensAt.IsZero() || m.clock.at().Before(m.conf.OpensAt)):
		due := idle
		if !m.conf.OpensAt.IsZero() {
			due = min(due, m.conf.OpensAt.Sub(m.clock.at()))
		}
		return finish(room.StopOpening, due)
	}
	m.settle()
	k := max(0, min(int64(limit), m.credit/1_000_000_000, m.conf.MaxActive-slots, int64(len(m.waiting))))
	for _, p := range m.waiting[:k] {
		m.unclaimed[p.Visitor] = m.clock.ms() + m.conf.Claim.Milliseconds()
		m.outbox = append(m.outbox, p)
		r.Last = p.Number
	}
	m.waiting = m.waiting[k:]
	m.credit -= k * 1_000_000_000
	m.stats.Admitted += k
	m.rounds = append(m.rounds, round{us: m.clock.now(), admitted: k, burst: m.conf.Burst, area: m.area})
	r.Admitted = int(k)
	switch {
	case len(m.waiting) == 0:
		return finish(room.StopEmpty, idle)
	case slots+k >= m.conf.MaxActive:
		due := idle
		for _, set := range []map[room.VisitorID]int64{m.unclaimed, m.active} {
			for _, ms := range set {
				due = min(due, time.Duration(ms*1000-m.clock.now())*time.Microsecond)
			}
		}
		return finish(room.StopCap, due)
	case m.credit < 1_000_000_000:
		rate := int64(m.conf.Rate)
		return finish(room.StopRate, time.Duration((1_000_000_000-m.credit+rate-1)/rate)*time.Microsecond)
	}
	return finish(room.StopMore, 0)
}

func (m *model) claim(t *rapid.T) {
	p := m.place(t)
	var want room.Stand
	var wantErr error
	effect := func() {
		want, wantErr = m.stand(p), nil
		switch {
		case want.Standing == room.Gone:
			wantErr = room.ErrSpent
		case want.Standing == room.Unclaimed && m.conf.SoldOut:
			want, wantErr = room.Stand{}, room.ErrSoldOut
		case want.Standing == room.Unclaimed:
			delete(m.unclaimed, p.Visitor)
			m.active[p.Visitor] = m.clock.ms() + m.conf.Pass.Milliseconds()
			m.stats.Claimed++
			want = m.stand(p)
		}
	}
	var got room.Stand
	var err error
	repeated, done := m.twice(t, effect, func() error {
		got, err = m.lines.Claim(background(), m.name, m.by(), p)
		return err
	})
	if !done {
		return
	}
	if !repeated {
		effect()
	}
	if got != want || err != wantErr {
		t.Fatalf("claim of %v, repeated %v: got %+v, %v, want %+v, %v", p, repeated, got, err, want, wantErr)
	}
}

func (m *model) leave(t *rapid.T) {
	p := m.place(t)
	var want error
	effect := func() {
		want = nil
		switch m.stand(p).Standing {
		case room.Waiting:
			m.waiting = slices.DeleteFunc(slices.Clone(m.waiting), func(q room.Place) bool { return p == q })
			m.stats.Left++
		case room.Unclaimed:
			delete(m.unclaimed, p.Visitor)
			m.stats.Left++
		case room.Active:
			want = room.ErrActive
		default:
			want = room.ErrSpent
		}
	}
	var err error
	if _, done := m.twice(t, effect, func() error {
		err = m.lines.Leave(background(), m.name, m.by(), p)
		return err
	}); !done {
		return
	}
	effect()
	if err != want {
		t.Fatalf("leave of %v: got %v, want %v", p, err, want)
	}
}

func (m *model) finish(t *rapid.T) {
	p := m.place(t)
	var want bool
	effect := func() {
		_, unclaimed := m.unclaimed[p.Visitor]
		_, active := m.active[p.Visitor]
		waits := slices.Contains(m.waiting, p) // its admission may be lost, for all the line knows
		want = unclaimed || active || waits
		delete(m.unclaimed, p.Visitor)
		delete(m.active, p.Visitor)
		m.waiting = slices.DeleteFunc(slices.Clone(m.waiting), func(q room.Place) bool { return p == q })
		if want {
			m.stats.Finished++
		}
	}
	var got bool
	var err error
	if _, done := m.twice(t, effect, func() error {
		got, err = m.lines.Finish(background(), m.name, m.by(), p)
		return err
	}); !done {
		return
	}
	effect()
	if got != want || err != nil {
		t.Fatalf("finish of %v: got %v, %v, want %v", p, got, err, want)
	}
}

// relay reads the outbox and acknowledges some of what was ever read.
func (m *model) relay(t *rapid.T) {
	entries, err := m.lines.ReadOutbox(background(), m.name, rapid.IntRange(1, 20).Draw(t, "admissions"))
	if err != nil {
		t.Fatalf("read the outbox: %v", err)
	}
	for _, e := range admissions(entries) {
		if !slices.Contains(m.outbox, room.Place{Visitor: e.Visitor, Number: e.Number}) || e.Epoch != m.conf.Epoch {
			t.Fatalf("outbox: got %+v, which was not admitted or is relayed", e)
		}
	}
	m.read = append(m.read, entries...)
	if len(m.read) == 0 || rapid.Bool().Draw(t, "kafka is away") {
		return
	}
	acked := slices.Clone(m.read[:rapid.IntRange(1, len(m.read)).Draw(t, "acknowledged")])
	effect := func() {
		m.read = m.read[min(len(acked), len(m.read)):]
		for _, e := range admissions(acked) {
			m.outbox = slices.DeleteFunc(m.outbox, func(p room.Place) bool { return p.Number == e.Number })
		}
	}
	repeated, _ := m.twice(t, effect, func() error {
		err := m.lines.Relayed(background(), m.name, m.by(), acked)
		if err != nil && !errors.Is(err, room.ErrAway) {
			t.Fatalf("relayed: %v", err)
		}
		return err
	})
	if !repeated && slices.ContainsFunc(m.read, func(e room.Entry) bool { return e.ID == acked[0].ID }) {
		effect()
	}
}

// reclaim is a relay that died with what it had read: another one reads it again, in
// order, before it reads anything new.
func (m *model) reclaim(t *rapid.T) {
	if len(m.read) == 0 {
		t.Skip("nothing is read and not acknowledged")
	}
	ctx := background()
	ids := make([]string, len(m.read))
	for i, e := range m.read {
		ids[i] = e.ID
		// As long ago as it takes.
		err := m.rdb.Do(ctx, "XCLAIM", outboxKey(m.name), group, consumer, 0, e.ID, "IDLE", (abandoned + time.Second).Milliseconds(), "JUSTID").Err()
		if err != nil {
			t.Fatalf("age entry %s: %v", e.ID, err)
		}
	}
	other := New(m.rdb, WithClock(m.clock.now)) // one that has looked for none yet
	entries, err := other.ReadOutbox(ctx, m.name, 10_000)
	if err != nil || len(entries) < len(ids) {
		t.Fatalf("read after a relay died: got %d entries, %v, want its %d first", len(entries), err, len(ids))
	}
	for i, id := range ids {
		if entries[i].ID != id {
			t.Fatalf("read after a relay died: got entry %s at %d, want %s", entries[i].ID, i, id)
		}
	}
	m.read = entries
}

func (m *model) set(t *rapid.T) {
	ch := room.Change{Actor: "model"}
	switch rapid.SampledFrom([]string{"rate", "burst", "cap", "waiting", "state", "opens", "stock", "stock", "reopen", "event"}).Draw(t, "field") {
	case "rate":
		ch.Rate = ptr(room.Rate(rapid.SampledFrom([]int64{100, 7_333, 50_000, 2_000_000}).Draw(t, "rate")))
	case "burst":
		ch.Burst = ptr(rapid.Int64Range(1, 60).Draw(t, "burst"))
	case "cap":
		ch.MaxActive = ptr(rapid.Int64Range(1, 40).Draw(t, "cap"))
	case "waiting":
		ch.MaxWaiting = ptr(rapid.Int64Range(1, 80).Draw(t, "max waiting"))
	case "state": // mostly open, or nobody moves
		ch.State = ptr(rapid.SampledFrom([]room.State{room.Open, room.Open, room.Open, room.Paused, room.Opening, room.Closed}).Draw(t, "state"))
	case "opens":
		ch.State = ptr(room.Opening)
		ch.OpensAt = ptr(m.clock.at().Truncate(time.Millisecond).Add(time.Second))
	case "event":
		ch.Event.Title = ptr(rapid.SampledFrom([]string{"", "Gala", "Ball"}).Draw(t, "title"))
		if rapid.Bool().Draw(t, "brand") {
			ch.Event.Brand = &room.Brand{Accent: rapid.SampledFrom([]string{"", "#1c6b5f"}).Draw(t, "accent"),
				Logo: []byte(rapid.SampledFrom([]string{"", "\x89PNG\r\n\x1a\nx"}).Draw(t, "logo"))}
		}
	case "reopen":
		ch.Reopen = true
	case "stock":
		m.stock(t)
		return
	}
	effect := func() {
		m.settle()
		m.conf = ch.On(m.conf)
		if ch.Reopen {
			m.conf.SoldOut = false
		}
		if event := ch.Event.On(m.event); event.Title != m.event.Title || event.Brand.Accent != m.event.Brand.Accent ||
			string(event.Brand.Logo) != string(m.event.Brand.Logo) {
			event.Rev++
			m.event = event
		}
		m.conf.Burst = max(m.conf.Burst, m.conf.Rate.MinBurst())
		m.credit = min(m.credit, m.conf.Burst*1_000_000_000)
	}
	var err error
	repeated, done := m.twice(t, effect, func() error {
		_, err = m.lines.Set(background(), m.name, ch)
		return err
	})
	if done && !repeated {
		effect()
	}
	if done && err != nil {
		t.Fatalf("set %+v: %v", ch, err)
	}
}

// stock is the shop's word, by a revision or by none. Seats are left mostly, or nobody
// moves.
func (m *model) stock(t *rapid.T) {
	stock := room.Stock{Rev: max(1, m.conf.StockRev+rapid.Int64Range(-2, 2).Draw(t, "rev")),
		Left: rapid.SampledFrom([]int64{0, 1, 7, 500}).Draw(t, "left")}
	if rapid.IntRange(0, 19).Draw(t, "counts") == 0 {
		stock = room.Stock{}
	}
	newer := stock.Rev > m.conf.StockRev || stock.Rev == 0 && !m.conf.SoldOut
	if got, err := m.lines.Stock(background(), m.name, m.conf.Epoch, stock); err != nil || got != newer {
		t.Fatalf("stock %+v: got newer %v, %v, want %v", stock, got, err, newer)
	}
	if newer {
		m.conf.SoldOut, m.conf.StockRev = stock.Left == 0, max(m.conf.StockRev, stock.Rev)
	}
}

func (m *model) time(t *rapid.T) {
	m.clock.pass(rapid.SampledFrom([]time.Duration{time.Microsecond, 7 * time.Millisecond, 50 * time.Millisecond,
		333 * time.Millisecond, time.Second, 3 * time.Second, 12 * time.Second}).Draw(t, "time"))
}

// refused makes every writing call with an epoch that is not this line's; check then
// finds nothing changed.
func (m *model) refused(t *rapid.T) {
	by, want := room.Caller{Epoch: "aaaaaaaa", Mark: m.seq + 1, Process: "p"}, room.ErrEpoch
	p := room.Place{Visitor: room.NewVisitorID(), Number: 1}
	if len(m.places) > 0 {
		p = m.place(t)
	}
	ctx := background()
	_, err1 := m.lines.Join(ctx, m.name, by, room.Lane{Name: "c-0", Batch: 1}, visitors(3))
	_, err2 := m.lines.Rejoin(ctx, m.name, by, []room.Place{p})
	_, err3 := m.lines.Admit(ctx, m.name, by, 10)
	_, err4 := m.lines.Claim(ctx, m.name, by, p)
	err5 := m.lines.Leave(ctx, m.name, by, p)
	_, err6 := m.lines.Finish(ctx, m.name, by, p)
	err7 := m.lines.Relayed(ctx, m.name, by, append([]room.Entry{{ID: "1-1", Count: 1}}, m.read...))
	for i, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
		if err != want {
			t.Fatalf("call %d of a caller %+v: got %v, want %v", i+1, by, err, want)
		}
	}
}

// check compares the whole line with the model, by one read, and the promises
// with what was read.
func (m *model) check(t *rapid.T) {
	ctx := background()
	var seq, gone *redis.StringCmd
	var queue, unclaimed, active *redis.ZSliceCmd
	var outbox *redis.XMessageSliceCmd
	var bucket *redis.SliceCmd
	_, err := m.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		seq, gone = p.Get(ctx, seqKey(m.name)), p.GetRange(ctx, goneKey(m.name), 0, -1)
		queue = p.ZRangeWithScores(ctx, queueKey(m.name), 0, -1)
		unclaimed = p.ZRangeWithScores(ctx, unclaimedKey(m.name), 0, -1)
		active = p.ZRangeWithScores(ctx, activeKey(m.name), 0, -1)
		outbox = p.XRange(ctx, outboxKey(m.name), "-", "+")
		bucket = p.HMGet(ctx, bucketKey(m.name), "credit", "at", "rate")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	// The invariant, from what Redis says alone.
	last, _ := seq.Int64()
	holders := map[int64]int{}
	where := map[any]int{}
	for _, z := range queue.Val() {
		holders[int64(z.Score)]++
		where[z.Member]++
	}
	bitmap, _ := gone.Bytes()
	for n := int64(0); n < max(last+1, int64(len(bitmap))*8); n++ {
		set := n>>3 < int64(len(bitmap)) && bitmap[n>>3]&(0x80>>(n&7)) != 0
		switch {
		case (n == 0 || n > last) && (set || holders[n] > 0):
			t.Fatalf("invariant: number %d: bit %v, %d in queue, with seq %d", n, set, holders[n], last)
		case n > 0 && n <= last && (holders[n] != 1) != set:
			t.Fatalf("invariant: number %d: bit %v, %d in queue", n, set, holders[n])
		}
	}
	for _, z := range slices.Concat(unclaimed.Val(), active.Val()) {
		where[z.Member]++
	}
	for v, n := range where {
		if n > 1 {
			t.Fatalf("visitor %v is in %d places", v, n)
		}
	}

	// The line is the model's.
	if room.Number(last) != m.seq {
		t.Fatalf("seq: got %d, want %d", last, m.seq)
	}
	place := func(z redis.Z) room.Place {
		return room.Place{Visitor: room.VisitorID(z.Member.(string)), Number: room.Number(z.Score)}
	}
	var waiting []room.Place
	for _, z := range queue.Val() {
		waiting = append(waiting, place(z))
	}
	if !slices.Equal(waiting, m.waiting) {
		t.Fatalf("queue: got %v, want %v", waiting, m.waiting)
	}
	for _, set := range []struct {
		what string
		got  []redis.Z
		want map[room.VisitorID]int64
	}{{"unclaimed", unclaimed.Val(), m.unclaimed}, {"active", active.Val(), m.active}} {
		got := map[room.VisitorID]int64{}
		for _, z := range set.got {
			got[room.VisitorID(z.Member.(string))] = int64(z.Score)
		}
		if fmt.Sprint(got) != fmt.Sprint(set.want) {
			t.Fatalf("%s: got %v, want %v", set.what, got, set.want)
		}
	}
	var relayed []room.Place
	for _, e := range outbox.Val() {
		entry := parseEntry(e)
		if entry.Err != nil {
			t.Fatal(entry.Err)
		}
		for _, a := range entry.Admitted {
			relayed = append(relayed, room.Place{Visitor: a.Visitor, Number: a.Number})
		}
	}
	if !slices.Equal(relayed, m.outbox) {
		t.Fatalf("outbox: got %v, want %v", relayed, m.outbox)
	}
	if !slices.IsSortedFunc(relayed, func(a, b room.Place) int { return cmp.Compare(a.Number, b.Number) }) {
		t.Fatalf("admitted out of order: %v", relayed)
	}

	// The credit, were a round now.
	var saved [3]int64
	for i, v := range bucket.Val() {
		if saved[i], err = strconv.ParseInt(fmt.Sprint(v), 10, 64); err != nil {
			t.Fatalf("bucket: got %v", bucket.Val())
		}
	}
	m.settle()
	credit := min(saved[0]+(m.clock.now()-saved[1])*saved[2], m.conf.Burst*1_000_000_000)
	if credit != m.credit || saved[2] != int64(m.conf.Rate) {
		t.Fatalf("bucket %v: got credit %d, want %d at rate %d", bucket.Val(), credit, m.credit, m.conf.Rate)
	}

	// Never more than rate·t + burst, for an interval from any round to the last.
	if n := len(m.rounds); n > 0 {
		end, sum := m.rounds[n-1], int64(0)
		for i := n - 1; i >= 0; i-- {
			r := m.rounds[i]
			sum += r.admitted
			if most := (end.area-r.area)/1_000_000_000 + r.burst; sum > most {
				t.Fatalf("admitted %d in %v, more than rate·t + burst = %d", sum, time.Duration(end.us-r.us)*time.Microsecond, most)
			}
		}
	}

	m.checkReads(t)
}

// checkReads compares what the nodes read with the model.
func (m *model) checkReads(t *rapid.T) {
	ctx := background()
	// From the head's byte of some read before: any byte up to the head's.
	head := m.seq + 1
	if len(m.waiting) > 0 {
		head = m.waiting[0].Number
	}
	from := rapid.Int64Range(0, int64(head)>>3+2).Draw(t, "from")
	snap, err := m.lines.Snapshot(ctx, m.name, from)
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	if snap.Seq != m.seq || snap.Head != head || snap.Waiting != int64(len(m.waiting)) || snap.Admitted != m.stats.Admitted || !snap.Now.Equal(m.clock.at()) {
		t.Fatalf("snapshot: got seq %d, head %d, waiting %d, admitted %d at %v; want %d, %d, %d, %d at %v", snap.Seq, snap.Head,
			snap.Waiting, snap.Admitted, snap.Now, m.seq, head, len(m.waiting), m.stats.Admitted, m.clock.at())
	}
	got := snap.Conf
	got.Rev = 0
	want := m.conf
	want.EventRev = m.event.Rev
	if got != want {
		t.Fatalf("conf: got %+v, want %+v", got, want)
	}
	event, err := m.lines.Event(ctx, m.name)
	if err != nil || fmt.Sprintf("%+v", event) != fmt.Sprintf("%+v", m.event) {
		t.Fatalf("event: got %+v, %v, want %+v", event, err, m.event)
	}
	turn, err := m.lines.Turn(ctx, m.name, from)
	if err != nil || turn.Seq != m.seq || turn.Head != head || turn.GoneFrom != int64(head)>>3 {
		t.Fatalf("turn: got %+v, %v, want seq %d, head %d", turn, err, m.seq, head)
	}
	whole := rank.New(snap.Head, snap.Seq, snap.GoneFrom, snap.Gone)
	window := rank.New(turn.Head, turn.Seq, turn.GoneFrom, turn.Gone)
	for i, p := range m.waiting {
		if got, ok := whole.Position(p.Number); !ok || got != room.Position(i+1) {
			t.Fatalf("position of %v: got %d, %v, want %d", p, got, ok, i+1)
		}
	}
	for _, p := range m.places {
		if waits := slices.Contains(m.waiting, p); window.Gone(p.Number) == waits {
			t.Fatalf("turn: %v is gone: got %v, want %v", p, !waits, !waits)
		}
	}
	byMulti, err1 := m.lines.look(ctx, m.name, lookEverything, from, -1)
	byScript, err2 := m.lines.lookByScript(ctx, m.name, from, -1)
	if err1 != nil || err2 != nil || fmt.Sprint(byMulti) != fmt.Sprint(byScript) {
		t.Fatalf("look: got by script %v, %v, want as by MULTI %v, %v", byScript, err2, byMulti, err1)
	}
	status, err := m.lines.Status(ctx, m.name)
	if err != nil || status.Stats != m.stats || status.Unclaimed != int64(len(m.unclaimed)) ||
		status.Active != int64(len(m.active)) || status.Outbox != int64(len(m.outbox)) {
		t.Fatalf("status: got %+v, %v, want stats %+v", status, err, m.stats)
	}
}

// sameJoined compares what every answer of a batch says, a repeat's too.
func sameJoined(a, b room.Joined) bool {
	return a.First == b.First && a.Granted == b.Granted && a.Repeated == b.Repeated && slices.Equal(a.Known, b.Known)
}
