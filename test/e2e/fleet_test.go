package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/bot"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
	"waitroom/test/internal/child"
)

const (
	bots  = 300
	seats = 100
	// The sale is slow until every process was killed and restarted, so that
	// all of it happens in the middle of the sale; then it is fast.
	slowRate = "2"
	fastRate = "25"
	burst    = 3 // the least of the faster rate, which would raise it
)

// fleet is two of each binary.
type fleet struct {
	waitrooms, admitters, bookers [2]*child.Process
	nodes, shops                  []string
}

// TestFleet is a whole sale on two processes of each binary, of which one is
// restarted in order and the other is killed and started again.
func TestFleet(t *testing.T) {
	enabled(t)
	alone(t)
	b, f, env := open(t)

	crowd := make(chan []bot.Outcome, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seed := rand.Uint64()
	t.Logf("seed of the bots: %d", seed)
	story := newStory(t)
	go func() { // ends with its bots, which end with ctx
		crowd <- bot.Crowd(ctx, bot.Config{
			Nodes: f.nodes, Shops: f.shops, Room: b.room, Rand: rand.New(rand.NewPCG(seed, 1)), Log: story.line,
			BackoffMin: 100 * time.Millisecond, BackoffMax: 2 * time.Second,
			Plan: bot.Plan{Leave: 0.1, LeaveIn: 20 * time.Second, Drop: 0.3, DropIn: 20 * time.Second, Away: 2 * time.Second,
				MissClaim: 0.03, LeaveShop: 0.05, Vanish: 0.02, Change: 0.1, MaxSeats: 2, Think: 300 * time.Millisecond},
		}, bots, 2*time.Second)
	}()
	defer func() { cancel(); story.close() }()

	// Each step waits for bookings, never for a time, and finds the sale still
	// going on.
	began := time.Now()
	steps := []struct {
		what string
		do   func(*child.Process)
		who  *child.Process
	}{
		{"SIGTERM", (*child.Process).Terminate, f.waitrooms[0]},
		{"SIGTERM", (*child.Process).Terminate, f.admitters[0]},
		{"SIGTERM", (*child.Process).Terminate, f.bookers[0]},
		{"kill -9", (*child.Process).Kill, f.waitrooms[1]},
		{"kill -9", (*child.Process).Kill, f.admitters[1]},
		{"kill -9", (*child.Process).Kill, f.bookers[1]},
	}
	next := 4
	for _, step := range steps {
		await(t, time.Minute, fmt.Sprintf("%d seats are booked", next), func() (bool, string) {
			return b.booked() >= next, fmt.Sprint(b.booked())
		})
		at := b.booked()
		t.Logf("%5.1f s: %s to %s at %d seats booked", time.Since(began).Seconds(), step.what, step.who.Name, at)
		step.do(step.who)
		step.who.Start()
		step.who.Ready()
		if at >= seats {
			t.Fatalf("the sale was over before %s to %s", step.what, step.who.Name)
		}
		next = b.booked() + 4 // the fleet, whole again, goes on selling
	}
	t.Logf("%5.1f s: every process is back, the rate goes up", time.Since(began).Seconds())
	must(t, "admitter", env, "set", string(b.room), "--rate", fastRate)

	var outcomes []bot.Outcome
	select {
	case outcomes = <-crowd:
	case <-ctx.Done():
		outcomes = <-crowd
	}
	t.Logf("%5.1f s: the last bot has ended: %s", time.Since(began).Seconds(), ends(outcomes))
	for i, o := range outcomes {
		switch o.End {
		case bot.Booked, bot.SoldOut, bot.Left, bot.Missed:
		default:
			t.Errorf("bot %d: got %s (%v), want booked, sold out, or gone of its own will; dials %d, stays %d",
				i, o.End, o.Err, o.Dials, len(o.Stays))
		}
	}
	if t.Failed() {
		story.tell()
		return
	}
	balance(t, b, f, outcomes)
	t.Logf("%5.1f s: the books balance", time.Since(began).Seconds())
	stop(t, f)
}

// balance waits until what is on its way has arrived, and compares the books.
func balance(t *testing.T, b *books, f *fleet, outcomes []bot.Outcome) {
	// Until the line has heard of it, rounds go on for those whose bots have left.
	await(t, 40*time.Second, "the line is sold out", func() (bool, string) {
		l := b.line()
		return l.conf["sold_out"] == "1", fmt.Sprint(l.conf)
	})
	// An admission that the killed admitter had read comes again after 30 s.
	await(t, time.Minute, "the line's outbox is empty", func() (bool, string) {
		n := b.line().outbox
		return n == 0, fmt.Sprint(n)
	})
	await(t, 30*time.Second, "the booker's outbox is empty", func() (bool, string) {
		n := b.count("SELECT COUNT(*) FROM facts")
		return n == 0, fmt.Sprint(n)
	})
	await(t, 30*time.Second, "the holds of those who vanished are over", func() (bool, string) {
		n := b.count("SELECT COUNT(*) FROM holds WHERE state = 'live'")
		return n == 0, fmt.Sprint(n)
	})
	ledger := b.ledgers(nil)[b.room]
	if ledger == nil || len(ledger.admitted) == 0 {
		t.Fatal("Kafka has no admission of this room")
	}
	admitted := ledger.admitted
	await(t, 40*time.Second, "every admission is in SQL", func() (bool, string) {
		n := len(b.recorded())
		return n >= len(admitted), fmt.Sprintf("%d of %d", n, len(admitted))
	})
	var l snapshot
	buyers := map[string]bool{}
	for _, o := range outcomes {
		if o.End == bot.Booked {
			buyers[string(o.Place().Visitor)] = true
		}
	}
	await(t, 40*time.Second, "the slots of all who booked are free", func() (bool, string) {
		l = b.line()
		inside := 0
		for visitor := range l.active {
			if buyers[visitor] {
				inside++
			}
		}
		return inside == 0, fmt.Sprintf("%d of %d", inside, len(buyers))
	})
	t.Logf("%d numbers, %d admitted (%d records), %d waiting; %v", l.seq, len(admitted), ledger.records, len(l.waiting), l.stats)

	b.seats(outcomes, seats)
	b.facts(ledger, seats)
	b.numbers(l, admitted, outcomes)
	b.order(l, admitted)
	slow, _ := room.ParseRate(slowRate)
	rates := b.rates(slow)
	if len(rates) != 2 {
		t.Errorf("rates: got %v, want the slow one and the fast one", rates)
	}
	t.Logf("%d admissions; the fastest stretch was %.3f visitors below rate·t + burst", len(admitted), pace(t, admitted, rates, burst))
}

// open starts the fleet, and its room with its seats.
func open(t *testing.T) (*books, *fleet, []string) {
	t.Helper()
	b, g := prepare(t, testenv.Redis(t), testenv.RedisURL(t))
	b.room = room.Name(testenv.Room(t))
	must(t, "admitter", g.env, "room", "create", string(b.room), "--rate", slowRate, "--burst", fmt.Sprint(burst),
		"--max-active", "60", "--claim", "8s", "--pass", "60s")
	must(t, "booker", g.env, "seats", "--room", string(b.room), "--count", fmt.Sprint(seats), "--new")

	// Only this room: another test's may be in the same Redis.
	f := start(t, g, "--room", string(b.room))
	must(t, "admitter", g.env, "room", "open", string(b.room))
	return b, f, g.env
}

// ground is what a fleet stands on.
type ground struct {
	dir, keys string
	dsn       string   // of the database
	env       []string // of every process
}

// prepare opens the books of a sale that is about to begin, and makes its keys.
func prepare(t *testing.T, client redis.UniversalClient, url string) (*books, ground) {
	t.Helper()
	g := ground{dir: t.TempDir(), dsn: testenv.MySQL(t)}
	b := &books{t: t, redis: client, kafka: testenv.Kafka(t), from: map[string][]int64{}}
	db, err := sqldb.Open(t.Context(), g.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b.db = db
	for _, topic := range []string{events.TopicAdmitted, events.TopicBookings} {
		b.from[topic] = b.partitions(topic, nil, nil)
	}
	g.keys = filepath.Join(g.dir, "keys.json")
	must(t, "waitroom", nil, "keys", "new", "--file", g.keys)
	g.env = []string{"WAITROOM_REDIS=" + url, "WAITROOM_KAFKA=" + b.kafka, "WAITROOM_DB=" + g.dsn}
	return b, g
}

// start runs two processes of each binary and returns once all are ready. Their logs
// are read when the test ends.
func start(t *testing.T, g ground, admitter ...string) *fleet {
	t.Helper()
	f := &fleet{}
	logs := filepath.Join(g.dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	jwks := ""
	for i := range 2 {
		listen, ops := address(t), address(t)
		f.nodes = append(f.nodes, "http://"+listen)
		f.waitrooms[i] = child.New(t, logs, fmt.Sprint("waitroom-", i+1), ops, g.env, "run",
			"--listen", listen, "--ops-listen", ops, "--keys", g.keys, "--drain", "2s")
		f.waitrooms[i].Start()
		jwks = "http://" + listen + "/.well-known/jwks.json"
	}
	for i := range 2 {
		ops := address(t)
		f.admitters[i] = child.New(t, logs, fmt.Sprint("admitter-", i+1), ops, g.env, append([]string{"run", "--ops-listen", ops}, admitter...)...)
		f.admitters[i].Start()
	}
	for i := range 2 {
		listen, ops := address(t), address(t)
		f.shops = append(f.shops, "http://"+listen)
		f.bookers[i] = child.New(t, logs, fmt.Sprint("booker-", i+1), ops, g.env, "run",
			"--listen", listen, "--ops-listen", ops, "--jwks", jwks, "--hold", "5s")
		f.bookers[i].Start()
	}
	for i := range 2 {
		f.waitrooms[i].Ready()
		f.admitters[i].Ready()
		f.bookers[i].Ready()
	}
	t.Cleanup(func() { quiet(t, logs, g.dsn) })
	return f
}

// stop ends the fleet in order.
func stop(t *testing.T, f *fleet) {
	t.Helper()
	for i := range 2 {
		for _, c := range []*child.Process{f.waitrooms[i], f.admitters[i], f.bookers[i]} {
			c.Terminate()
		}
	}
}

// quiet reads every log: no token, no private key, no password, no panic.
func quiet(t *testing.T, logs, dsn string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(logs, "*.log"))
	if err != nil || len(files) != 6 {
		t.Errorf("logs: got %v, %v, want six", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		silent(t, filepath.Base(file), text, password(dsn))
		if strings.Contains(string(text), "panic") || strings.Contains(string(text), "DATA RACE") {
			t.Errorf("%s holds a panic or a race", filepath.Base(file))
		}
	}
}

// password is ":password@" of a URL, which no log may hold.
func password(dsn string) string {
	_, rest, _ := strings.Cut(dsn, "://")
	user, _, found := strings.Cut(rest, "@")
	_, word, has := strings.Cut(user, ":")
	if !found || !has {
		return ""
	}
	return ":" + word + "@"
}

func ends(outcomes []bot.Outcome) string {
	count := map[bot.End]int{}
	reconnects, drains := 0, 0
	for _, o := range outcomes {
		count[o.End]++
		reconnects += o.Reconnects
		drains += o.Drains
	}
	return fmt.Sprintf("%v; %d reconnects, %d drains heard", count, reconnects, drains)
}
