package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"waitroom/internal/bot"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// books is where a sale is written down: the line, the topics, the database.
type books struct {
	t     *testing.T
	room  room.Name
	redis redis.UniversalClient
	kafka string
	db    *sqldb.DB
	from  map[string][]int64 // offsets of each topic before this sale
}

func (b *books) count(query string, args ...any) int {
	b.t.Helper()
	var n int
	if err := b.db.GetContext(b.t.Context(), &n, query, args...); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// booked is how many seats are booked.
func (b *books) booked() int {
	return b.count("SELECT COUNT(*) FROM seats WHERE room = ? AND state = 'booked'", b.room)
}

// snapshot is everything the line knows at one moment.
type snapshot struct {
	seq       int64
	gone      []byte
	waiting   map[string]int64 // visitor → number
	unclaimed map[string]int64
	active    map[string]int64
	outbox    int64
	stats     map[string]int64
	conf      map[string]string
}

func (b *books) line() snapshot {
	b.t.Helper()
	key := func(name string) string { return "wr1:{" + string(b.room) + "}:" + name }
	var (
		seq, gone                *redis.StringCmd
		queue, unclaimed, active *redis.ZSliceCmd
		stats, conf              *redis.MapStringStringCmd
		outbox                   *redis.IntCmd
		ctx                      = b.t.Context()
		_, err                   = b.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
			seq, gone = p.Get(ctx, key("seq")), p.Get(ctx, key("gone"))
			queue = p.ZRangeWithScores(ctx, key("queue"), 0, -1)
			unclaimed = p.ZRangeWithScores(ctx, key("unclaimed"), 0, -1)
			active = p.ZRangeWithScores(ctx, key("active"), 0, -1)
			stats, conf = p.HGetAll(ctx, key("stats")), p.HGetAll(ctx, key("conf"))
			outbox = p.XLen(ctx, key("outbox"))
			return nil
		})
	)
	if err != nil && !errors.Is(err, redis.Nil) {
		b.t.Fatalf("read the line: %v", err)
	}
	l := snapshot{waiting: scores(queue), unclaimed: scores(unclaimed), active: scores(active), outbox: outbox.Val(),
		stats: map[string]int64{}, conf: conf.Val(), gone: []byte(gone.Val())}
	l.seq, _ = seq.Int64()
	for name, text := range stats.Val() {
		l.stats[name], _ = strconv.ParseInt(text, 10, 64)
	}
	return l
}

func scores(z *redis.ZSliceCmd) map[string]int64 {
	m := map[string]int64{}
	for _, e := range z.Val() {
		m[e.Member.(string)] = int64(e.Score)
	}
	return m
}

func (l snapshot) isGone(n int64) bool {
	return n>>3 < int64(len(l.gone)) && l.gone[n>>3]&(0x80>>(n&7)) != 0
}

// rate is one that came into force at a moment of the line's own clock, in µs.
type rate struct {
	at int64
	of room.Rate
}

// rates are those of the room, in order: the first is in force since ever.
func (b *books) rates(first room.Rate) []rate {
	b.t.Helper()
	acts, err := b.redis.XRange(b.t.Context(), "wr1:{"+string(b.room)+"}:acts", "-", "+").Result()
	if err != nil {
		b.t.Fatalf("read the acts: %v", err)
	}
	list := []rate{{0, first}}
	for _, act := range acts {
		text, changed := act.Values["new:rate"]
		if act.Values["act"] != "set" || !changed {
			continue
		}
		at, err1 := strconv.ParseInt(fmt.Sprint(act.Values["at"]), 10, 64)
		of, err2 := strconv.ParseInt(fmt.Sprint(text), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			b.t.Fatalf("act %v: %v", act.Values, err)
		}
		list = append(list, rate{at, room.Rate(of)})
	}
	return list
}

// partitions reads each partition's end, and its messages from an offset on
// when handle is given; a topic that does not exist yet has none.
func (b *books) partitions(topic string, from []int64, handle func(kafka.Message)) (ends []int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	ids, err := kafka.LookupPartitions(ctx, "tcp", b.kafka, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil
	}
	if err != nil {
		b.t.Fatalf("partitions of %s: %v", topic, err)
	}
	for p := range len(ids) {
		conn, err := kafka.DialLeader(ctx, "tcp", b.kafka, topic, p)
		if err != nil {
			b.t.Fatalf("partition %d of %s: %v", p, topic, err)
		}
		first, last, err := conn.ReadOffsets()
		if err != nil {
			b.t.Fatalf("offsets of partition %d of %s: %v", p, topic, err)
		}
		ends = append(ends, last)
		at := first
		if p < len(from) {
			at = max(at, from[p])
		}
		if handle != nil && at < last {
			read(b.t, conn, at, last, handle)
		}
		conn.Close()
	}
	return ends
}

func read(t *testing.T, conn *kafka.Conn, at, last int64, handle func(kafka.Message)) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Seek(at, kafka.SeekAbsolute); err != nil {
		t.Fatalf("seek: %v", err)
	}
	for at < last {
		m, err := conn.ReadMessage(8 << 20)
		if err != nil {
			t.Fatalf("read offset %d of %d: %v", at, last, err)
		}
		at = m.Offset + 1
		handle(m)
	}
}

func headers(m kafka.Message) map[string]string {
	h := map[string]string{}
	for _, x := range m.Headers {
		h[x.Key] = string(x.Value)
	}
	return h
}

// ledger is what Kafka holds of one room.
type ledger struct {
	admitted []events.Admitted         // each once, as it was first, by the line's time
	records  int                       // of admissions, with those that came twice
	facts    map[string]events.Booking // of the shop, each once
	stock    events.Stock              // the newest
}

// ledgers reads what Kafka holds of this sale, room by room. An admission that comes
// twice has to be the same, except in rooms of a line that lost it meanwhile (lost;
// nil: in none) and admitted the visitor again.
func (b *books) ledgers(lost func(room.Name) bool) map[room.Name]*ledger {
	b.t.Helper()
	all, seen := map[room.Name]*ledger{}, map[string]events.Admitted{}
	of := func(name room.Name) *ledger {
		if all[name] == nil {
			all[name] = &ledger{facts: map[string]events.Booking{}}
		}
		return all[name]
	}
	b.partitions(events.TopicAdmitted, b.from[events.TopicAdmitted], func(m kafka.Message) {
		a, err := events.DecodeAdmitted(headers(m), m.Value)
		if err != nil {
			b.t.Errorf("a record of %s: %v", events.TopicAdmitted, err)
			return
		}
		of(a.Room).records++
		before, repeated := seen[a.ID]
		if repeated && lost != nil && lost(a.Room) {
			a.AdmittedAtUS = min(a.AdmittedAtUS, before.AdmittedAtUS)
			before.AdmittedAtUS = a.AdmittedAtUS
		}
		if repeated && before != a {
			b.t.Errorf("admission %s comes twice and differs: %+v, %+v", a.ID, before, a)
		}
		seen[a.ID] = a
	})
	for _, a := range seen {
		l := of(a.Room)
		l.admitted = append(l.admitted, a)
	}
	for _, l := range all {
		slices.SortFunc(l.admitted, func(x, y events.Admitted) int {
			return cmp.Or(cmp.Compare(x.AdmittedAtUS, y.AdmittedAtUS), cmp.Compare(x.Number, y.Number))
		})
	}
	b.partitions(events.TopicBookings, b.from[events.TopicBookings], func(m kafka.Message) {
		if headers(m)["ce_type"] == events.TypeStock {
			stock, err := events.DecodeStock(headers(m), m.Value)
			if err != nil {
				b.t.Errorf("a record of %s: %v", events.TopicBookings, err)
			} else if l := of(stock.Room); stock.Rev > l.stock.Rev {
				l.stock = stock
			} else if stock.Rev == l.stock.Rev && (stock.Left != l.stock.Left || stock.Seats != l.stock.Seats) {
				b.t.Errorf("stock of one rev: got %+v and %+v, want the same twice", l.stock, stock)
			}
			return
		}
		fact, err := events.DecodeBooking(headers(m), m.Value)
		if err != nil {
			b.t.Errorf("a record of %s: %v", events.TopicBookings, err)
			return
		}
		of(fact.Room).facts[fact.ID] = fact
	})
	return all
}

// seats: as many seats booked as were sold, once each, and the visitors' own story is the same.
func (b *books) seats(outcomes []bot.Outcome, want int) {
	t := b.t
	t.Helper()
	if got := b.booked(); got != want {
		t.Errorf("seats booked: got %d, want %d", got, want)
	}
	if got := b.count("SELECT COUNT(DISTINCT seat) FROM booked_seats WHERE room = ?", b.room); got != want {
		t.Errorf("seats with a booking: got %d, want %d", got, want)
	}
	if got := b.count("SELECT COUNT(*) FROM booked_seats WHERE room = ?", b.room); got != want {
		t.Errorf("bookings of seats: got %d, want %d, one each", got, want)
	}
	if got := b.count("SELECT COUNT(*) FROM holds WHERE room = ? AND state = 'live'", b.room); got != 0 {
		t.Errorf("holds still live after the sale: got %d, want 0", got)
	}
	var told []string
	for _, o := range outcomes {
		for _, s := range o.Seats {
			told = append(told, string(s))
		}
	}
	var have []string
	if err := b.db.SelectContext(t.Context(), &have, "SELECT seat FROM booked_seats WHERE room = ? ORDER BY seat", b.room); err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	slices.Sort(have)
	if !slices.Equal(told, have) {
		t.Errorf("seats that bots were told are theirs: %v\nseats booked in SQL: %v", told, have)
	}
}

// facts: Kafka tells the same sale as SQL.
func (b *books) facts(l *ledger, want int) {
	t := b.t
	t.Helper()
	holds, finished, soldOut := map[seat.ID]string{}, map[string]bool{}, 0
	for _, f := range l.facts {
		switch f.Type {
		case events.TypeConfirmed:
			for _, s := range f.Seats {
				if other := holds[s]; other != "" {
					t.Errorf("seat %s is confirmed to holds %s and %s", s, other, f.Hold)
				}
				holds[s] = f.Hold
			}
		case events.TypeFinished:
			finished[f.Admission] = true
		case events.TypeSoldOut:
			soldOut++
		}
	}
	if len(holds) != want {
		t.Errorf("seats confirmed by facts: got %d, want %d", len(holds), want)
	}
	if all := b.count("SELECT COUNT(*) FROM seats WHERE room = ?", b.room); (soldOut > 0) != (want == all) {
		t.Errorf("facts that the room is sold out: got %d with %d of %d seats booked", soldOut, want, all)
	} else if l.stock.Rev > 0 && (l.stock.Left == 0) != (want == all) { // 0: an older booker sold
		t.Errorf("the newest stock: got %+v with %d of %d seats booked", l.stock, want, all)
	}
	for _, f := range l.facts {
		if f.Type == events.TypeConfirmed && !finished[f.Admission] {
			t.Errorf("admission %s booked, and no fact says that it finished", f.Admission)
		}
	}

	inSQL := map[string]bool{}
	for _, id := range b.recorded() {
		inSQL[id] = true
	}
	missing := 0
	for _, a := range l.admitted {
		if !inSQL[a.ID] {
			missing++
		}
		delete(inSQL, a.ID)
	}
	if missing > 0 || len(inSQL) > 0 {
		t.Errorf("admissions in Kafka and not in SQL: %d; in SQL and not in Kafka: %d", missing, len(inSQL))
	}
}

// recorded are the ids of this room's admissions in SQL: a booker also records
// those of any other room on the same Kafka.
func (b *books) recorded() (ids []string) {
	b.t.Helper()
	if err := b.db.SelectContext(b.t.Context(), &ids, "SELECT id FROM admissions WHERE id LIKE ?", string(b.room)+".%"); err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// numbers: every number of the line is waiting, admitted or left.
func (b *books) numbers(l snapshot, admitted []events.Admitted, outcomes []bot.Outcome) {
	t := b.t
	t.Helper()
	let, left := b.holders(l, admitted)
	s := l.stats
	if s["joined"] != l.seq {
		t.Errorf("joined: got %d, want %d, the last number", s["joined"], l.seq)
	}
	if s["admitted"] != int64(len(let)) {
		t.Errorf("admitted: the line says %d, Kafka has %d", s["admitted"], len(let))
	}
	// Who left either waited or was admitted and had not claimed. Of a dead node's last
	// batch, which was taken out of the line, some may not have come back: they are gone
	// and did not leave.
	unclaimedLeft := s["admitted"] - s["claimed"] - s["missed"] - int64(len(l.unclaimed))
	if waitingLeft := s["left"] - unclaimedLeft; unclaimedLeft < 0 || waitingLeft > left || waitingLeft < left-s["given_back"] {
		t.Errorf("numbers neither waiting nor admitted: %d; %d visitors left, of them %d with a turn (admitted %d, claimed %d, missed %d, unclaimed %d); %d were given back",
			left, s["left"], unclaimedLeft, s["admitted"], s["claimed"], s["missed"], len(l.unclaimed), s["given_back"])
	}
	// A finish may come before its claim is known here: then it counts in
	// finished and not in claimed, which this sale does not do.
	if got, want := s["finished"]+s["lapsed"]+int64(len(l.active)), s["claimed"]; got != want {
		t.Errorf("finished %d + lapsed %d + active %d = %d, want %d, the claimed",
			s["finished"], s["lapsed"], len(l.active), got, want)
	}
	b.stays(l, let, outcomes)
}

// holders tells who was admitted with which number, and how many numbers are
// neither waiting nor admitted.
func (b *books) holders(l snapshot, admitted []events.Admitted) (let map[int64]string, left int64) {
	t := b.t
	t.Helper()
	holder := map[int64]string{}
	for visitor, n := range l.waiting {
		if other := holder[n]; other != "" {
			t.Errorf("number %d waits twice: %s, %s", n, other, visitor)
		}
		holder[n] = visitor
	}
	let = map[int64]string{}
	for _, a := range admitted {
		if other := let[int64(a.Number)]; other != "" {
			t.Errorf("number %d was admitted twice: %s, %s", a.Number, other, a.Visitor)
		}
		let[int64(a.Number)] = string(a.Visitor)
	}
	for n := int64(1); n <= l.seq; n++ {
		waits, was := holder[n] != "", let[n] != ""
		switch {
		case waits && (was || l.isGone(n)):
			t.Errorf("number %d waits, and also: admitted %v, gone %v", n, was, l.isGone(n))
		case !waits && !l.isGone(n):
			t.Errorf("number %d does not wait and is not gone", n)
		case !waits && !was:
			left++
		}
	}
	for n := l.seq + 1; n < int64(len(l.gone))*8; n++ {
		if l.isGone(n) {
			t.Errorf("number %d is gone and was never given: the last one is %d", n, l.seq)
		}
	}
	return let, left
}

// stays: what visitors heard of their places is what the line knows.
func (b *books) stays(l snapshot, let map[int64]string, outcomes []bot.Outcome) {
	t := b.t
	t.Helper()
	given := map[room.Number]room.VisitorID{}
	for i, o := range outcomes {
		for _, s := range o.Stays {
			if other, twice := given[s.Number]; twice {
				t.Errorf("number %d was given to %s and %s", s.Number, other, s.Visitor)
			}
			given[s.Number] = s.Visitor
			switch {
			case int64(s.Number) > l.seq || s.Number < 1:
				t.Errorf("bot %d has number %d, the line's last is %d", i, s.Number, l.seq)
			case s.Moves > 0:
				t.Errorf("bot %d: its place changed %d times over reconnects", i, s.Moves)
			case s.Rises > 0:
				t.Errorf("bot %d: its position rose %d times", i, s.Rises)
			case !s.Admitted.IsZero() && let[int64(s.Number)] != string(s.Visitor):
				t.Errorf("bot %d was told that number %d is admitted; Kafka has %q for it", i, s.Number, let[int64(s.Number)])
			}
		}
	}
}

// order: admissions are in order of number. Late may only be who was in the last batch
// of a node that died: it is taken out of the line, since nobody may have heard of it,
// and whoever did comes back to the number.
func (b *books) order(l snapshot, admitted []events.Admitted) {
	b.t.Helper()
	late, highest := int64(0), room.Number(0)
	for _, a := range admitted {
		if a.Number < highest {
			late++
		}
		highest = max(highest, a.Number)
	}
	if given := l.stats["given_back"]; late > given {
		b.t.Errorf("%d visitors were admitted after somebody with a higher number; %d were taken out as a dead node's last batch", late, given)
	}
}

// pace: over any interval t of the line's own clock at most rate·t + burst are
// admitted, with the greatest rate in force during it. It tells how far below that the
// fastest stretch was, in visitors.
func pace(t *testing.T, admitted []events.Admitted, rates []rate, burst int64) (below float64) {
	t.Helper()
	// greatest is the greatest rate in force from one moment to another.
	greatest := func(from, to int64) (most room.Rate) {
		for i, r := range rates {
			if r.at <= to && (i == len(rates)-1 || rates[i+1].at > from) {
				most = max(most, r.of)
			}
		}
		return most
	}
	least := int64(1 << 62) // room below the bound, in 1e-9 visitors
	for i, from := range admitted {
		for j := i; j < len(admitted); j++ {
			of := greatest(from.AdmittedAtUS, admitted[j].AdmittedAtUS)
			us := admitted[j].AdmittedAtUS - from.AdmittedAtUS
			// In 1e-9 visitors, as the line counts: nothing is rounded.
			got, most := int64(j-i+1)*1e9, us*int64(of)+burst*1e9
			least = min(least, most-got)
			if got > most {
				t.Errorf("room %s: %d admissions within %d µs (numbers %d to %d); rate %s and burst %d allow %d",
					from.Room, j-i+1, us, from.Number, admitted[j].Number, of, burst, most/1e9)
				return float64(least) / 1e9
			}
		}
	}
	return float64(least) / 1e9
}
