package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
	"waitroom/test/internal/child"
)

const (
	stormKills = 8               // of the first booker
	stormEvery = 5 * time.Second // a kill
	stormSeats = 20_000          // more than anybody sells meanwhile
	stormBuyer = 6
	// stormLate is the promise: an admission is in SQL so late at most, and a booker
	// that is told to stop has ended after stormStop.
	stormLate = 10 * time.Second
	stormStop = 5 * time.Second
)

// storm is a shop of three bookers whose group is shared out anew all the time.
type storm struct {
	t       *testing.T
	books   *books
	writer  *kafkaio.Writer
	ring    *token.Keyring
	epoch   room.Epoch
	shops   []string
	bookers []*child.Process
	client  *http.Client
	number  atomic.Int64
	next    atomic.Int64 // seat to sell

	mu     sync.Mutex
	sent   map[string]time.Time // admissions for Kafka that nobody saw in SQL yet; guarded by mu
	seen   int                  // guarded by mu
	latest time.Duration        // guarded by mu
	sold   []string             // seats of purchases that were answered; guarded by mu
}

// TestBookerStorm is a sale on three bookers of which one is killed every 5 s and started
// again at once, for 40 s, and another one is stopped in order and started again. Rows of
// admissions come at most 10 s late, each stop takes 5 s at most, and in the end Kafka
// tells of each purchase that was answered, and of nothing else.
func TestBookerStorm(t *testing.T) {
	enabled(t)
	alone(t)
	s := newStorm(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	load.Go(func() { s.admit(ctx) }) // all end with stop
	load.Go(func() { s.watch(ctx) })
	for range stormBuyer {
		load.Go(func() {
			for s.buy(ctx) {
			}
		})
	}
	await(t, 30*time.Second, "the first rows and purchases", func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.seen > 0 && len(s.sold) > 0, fmt.Sprint(s.seen, len(s.sold))
	})
	var slowest time.Duration
	terminate := func(who *child.Process) {
		began := time.Now()
		who.Terminate()
		took := time.Since(began)
		if slowest = max(slowest, took); took > stormStop {
			t.Errorf("%s ended %s after SIGTERM, want %s at most", who.Name, took.Round(time.Millisecond), stormStop)
		}
	}
	began := time.Now()
	tick := time.NewTicker(stormEvery)
	defer tick.Stop()
	for i := range stormKills {
		s.bookers[0].Kill()
		s.bookers[0].Start()
		if i%3 == 1 { // in the middle of the rebalance
			terminate(s.bookers[1])
			s.bookers[1].Start()
		}
		<-tick.C // how often it happens
	}
	s.bookers[0].Ready()
	s.bookers[1].Ready()
	t.Logf("%d kills within %s", stormKills, time.Since(began).Round(time.Second))
	stop()
	load.Wait()
	s.client.CloseIdleConnections()

	await(t, stormLate+time.Second, "every admission is in SQL", func() (bool, string) {
		s.look(t.Context())
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.sent) == 0, fmt.Sprint(len(s.sent), " missing")
	})
	for _, who := range s.bookers { // a stop publishes what it has
		terminate(who)
	}
	if n := s.books.count("SELECT COUNT(*) FROM facts"); n != 0 {
		t.Errorf("got %d facts left behind, want none", n)
	}
	t.Logf("%d admissions, the latest %s late; %d purchases; the slowest stop took %s",
		s.seen, s.latest.Round(time.Millisecond), len(s.sold), slowest.Round(time.Millisecond))
	if s.latest > stormLate {
		t.Errorf("an admission is in SQL after %s, want %s at most", s.latest, stormLate)
	}
	s.compare()
}

// newStorm starts the bookers and returns once they are ready.
func newStorm(t *testing.T) *storm {
	t.Helper()
	b, g := prepare(t, nil, "")
	b.room = room.Name(testenv.Room(t))
	s := &storm{t: t, books: b, epoch: room.NewEpoch(), sent: map[string]time.Time{},
		writer: kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: []string{b.kafka}, ClientID: "storm"}),
		client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: stormBuyer}}}
	t.Cleanup(func() { s.writer.Close() })
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if s.ring, err = token.NewKeyring(key); err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(g.dir, "jwks.json")
	if err := os.WriteFile(jwks, s.ring.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "booker", g.env, "seats", "--room", string(b.room), "--count", fmt.Sprint(stormSeats), "--per-row", "100", "--new")
	for i := range 3 {
		listen, ops := address(t), address(t)
		s.shops = append(s.shops, "http://"+listen)
		s.bookers = append(s.bookers, child.New(t, g.dir, fmt.Sprint("booker-", i+1), ops, g.env, "run",
			"--listen", listen, "--ops-listen", ops, "--jwks", jwks))
		s.bookers[i].Start()
	}
	for _, who := range s.bookers {
		who.Ready()
	}
	return s
}

// admission is of a visitor who is let in now, and its record, which is about to be
// published.
func (s *storm) admission() (room.Admission, events.Record) {
	a := room.Admission{Room: s.books.room, Epoch: s.epoch, Number: room.Number(s.number.Add(1)), Visitor: room.NewVisitorID()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[a.String()] = time.Now()
	return a, events.EncodeAdmitted(a.Room, room.Admitted{Visitor: a.Visitor, Number: a.Number, At: time.Now(), Epoch: a.Epoch})
}

// admit lets visitors in, most partitions' worth every 50 ms.
func (s *storm) admit(ctx context.Context) {
	for ctx.Err() == nil {
		var records []events.Record
		for range kafkaio.Partitions {
			_, record := s.admission()
			records = append(records, record)
		}
		if err := s.writer.Publish(s.t.Context(), records); err != nil {
			s.t.Errorf("publish admissions: %v", err)
			return
		}
		idle(ctx, 50*time.Millisecond) // 160 a second
	}
}

// watch looks for the rows of admissions.
func (s *storm) watch(ctx context.Context) {
	for ctx.Err() == nil {
		s.look(s.t.Context())
		idle(ctx, 100*time.Millisecond) // between two looks; it counts as late
	}
}

// look notes how late each row is that has come.
func (s *storm) look(ctx context.Context) {
	s.mu.Lock()
	var missing []string
	for id := range s.sent {
		missing = append(missing, id)
	}
	s.mu.Unlock()
	for some := range slices.Chunk(missing, 1000) {
		query, args, err := sqlx.In("SELECT id FROM admissions WHERE id IN (?)", some)
		var there []string
		if err == nil {
			err = s.books.db.SelectContext(ctx, &there, query, args...)
		}
		if err != nil {
			s.t.Errorf("read the admissions: %v", err)
			return
		}
		s.mu.Lock()
		for _, id := range there {
			s.latest = max(s.latest, time.Since(s.sent[id]))
			delete(s.sent, id)
			s.seen++
		}
		s.mu.Unlock()
	}
}

// buy holds a seat and books it, at whichever booker answers; false: ctx ended, or
// something was answered that no booker's end explains.
func (s *storm) buy(ctx context.Context) bool {
	i := int(s.next.Add(1) - 1)
	if i >= stormSeats {
		s.t.Error("all seats are sold")
		return false
	}
	list, err := seat.Generate(i+1, 100)
	if err != nil {
		s.t.Error(err)
		return false
	}
	one := string(list[i])
	a, record := s.admission()
	pass, err := s.ring.Pass(a, time.Now().Add(5*time.Minute))
	if err == nil {
		err = s.writer.Publish(s.t.Context(), []events.Record{record})
	}
	if err != nil {
		s.t.Error(err)
		return false
	}
	path := "/rooms/" + string(a.Room) + "/holds"
	body, ok := s.call(ctx, path, pass, `{"seats":["`+one+`"]}`)
	var hold struct{ ID string }
	if !ok || json.Unmarshal([]byte(body), &hold) != nil || hold.ID == "" {
		return false
	}
	if _, ok = s.call(ctx, path+"/"+hold.ID+"/confirm", pass, ""); !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sold = append(s.sold, one)
	return true
}

// call asks one booker after the other until one serves it. A booker that ends may break
// the connection, refuse it, or say that it is away.
func (s *storm) call(ctx context.Context, path, pass, body string) (answer string, ok bool) {
	for try := 0; ctx.Err() == nil; try++ {
		r, err := http.NewRequest(http.MethodPost, s.shops[(try+len(pass)+int(s.number.Load()))%len(s.shops)]+path, strings.NewReader(body))
		if err != nil {
			s.t.Error(err)
			return "", false
		}
		r.Header.Set("Authorization", "Bearer "+pass)
		w, err := s.client.Do(r)
		var b []byte
		if err == nil {
			b, err = io.ReadAll(w.Body)
			w.Body.Close()
		}
		switch {
		case err != nil || w.StatusCode == http.StatusServiceUnavailable:
			idle(ctx, 100*time.Millisecond) // below what a pass may ask
		case w.StatusCode < 300:
			return string(b), true
		default:
			s.t.Errorf("POST %s: got %d %.200s, want it served", path, w.StatusCode, b)
			return "", false
		}
	}
	return "", false
}

// compare holds Kafka against SQL, and both against what buyers were told.
func (s *storm) compare() {
	t := s.t
	t.Helper()
	var booked []string
	if err := s.books.db.SelectContext(t.Context(), &booked, "SELECT seat FROM booked_seats WHERE room = ?", s.books.room); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, one := range booked {
		there[one] = true
	}
	lost := 0
	for _, one := range s.sold {
		if !there[one] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d purchases that were answered are not in SQL", lost, len(s.sold))
	}
	ledger := s.books.ledgers(nil)[s.books.room]
	if ledger == nil {
		t.Fatal("Kafka has nothing of this room")
	}
	s.books.facts(ledger, len(booked))
	facts := map[string]int{}
	for _, f := range ledger.facts {
		facts[f.Type]++
	}
	for of, query := range map[string]string{
		events.TypeHeld:      "SELECT COUNT(*) FROM holds WHERE room = ?",
		events.TypeConfirmed: "SELECT COUNT(*) FROM bookings WHERE room = ?",
		events.TypeFinished:  "SELECT COUNT(*) FROM bookings WHERE room = ?",
	} {
		if want := s.books.count(query, s.books.room); facts[of] != want {
			t.Errorf("facts of type %s: got %d, want %d as in SQL", of, facts[of], want)
		}
	}
}

// idle waits, or until ctx ends.
func idle(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
