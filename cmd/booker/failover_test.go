//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/embedded"
	"waitroom/internal/room"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

const (
	// backIn is how soon every visitor is served again once the database is back.
	backIn = 10 * time.Second
	// patience is how long an answer may take while it is away: a page gives up then.
	patience = 15 * time.Second
)

// mall is a house with several rooms, so that many connections are busy at once, and
// visitors who buy one seat after the other.
type mall struct {
	*house
	url    string
	client *http.Client
	rooms  []room.Name
	end    func()       // stops the booker, the one of the whole test
	next   atomic.Int64 // seat to sell

	mu      sync.Mutex
	sold    map[string]bool // "room/seat" of purchases that were answered 200; guarded by mu
	codes   map[string]int  // refusals by code; guarded by mu
	slowest time.Duration   // guarded by mu
}

// mallSeats is how many each room has: more than any test sells.
const mallSeats = 5000

func newMall(t *testing.T, db string) *mall {
	t.Helper()
	m := &mall{house: newHouse(t, db, mallSeats), rooms: []room.Name{"gig", "hall", "opera", "zoo"}, sold: map[string]bool{}, codes: map[string]int{}}
	for _, name := range m.rooms[1:] {
		if code, _, errs := booker(t.Context(), "seats", "--db", db, "--room", string(name), fmt.Sprint("--count=", mallSeats), "--per-row=20", "--new"); code != 0 {
			t.Fatalf("seats of %s: got %d, %s", name, code, errs)
		}
	}
	kafka, stop, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	cmd, said, url := m.booker(kafka)
	m.url = url
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	m.client = &http.Client{Transport: transport, Timeout: 2 * patience}
	m.end = func() {
		transport.CloseIdleConnections()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: got %v, want exit code 0: %s", err, said)
		}
	}
	return m
}

// call asks until it is served or ctx ends; 503 with a code that says to come back is all
// that may come before. ok is false when ctx ended.
func (m *mall) call(ctx context.Context, method, path, pass, body string) (answer string, ok bool) {
	for ctx.Err() == nil {
		r, err := http.NewRequest(method, m.url+path, strings.NewReader(body))
		if err != nil {
			m.t.Error(err)
			return "", false
		}
		r.Header.Set("Authorization", "Bearer "+pass)
		began := time.Now()
		w, err := m.client.Do(r)
		if err != nil {
			m.t.Errorf("%s %s: %v", method, path, err)
			return "", false
		}
		b, err := io.ReadAll(w.Body)
		w.Body.Close()
		after, _ := strconv.Atoi(w.Header.Get("Retry-After"))
		var problem struct{ Code string }
		_ = json.Unmarshal(b, &problem)
		m.mu.Lock()
		m.slowest = max(m.slowest, time.Since(began))
		if w.StatusCode >= 400 {
			m.codes[problem.Code]++
		}
		m.mu.Unlock()
		switch {
		case err == nil && w.StatusCode < 300:
			return string(b), true
		case w.StatusCode == 503 && (problem.Code == "unavailable" || problem.Code == "overloaded") && after > 0:
			pause(ctx, time.Duration(after)*time.Second) // as the page does
		default:
			m.t.Errorf("%s %s: got %d %.200s, %v, want it served or told to come back", method, path, w.StatusCode, b, err)
			return "", false
		}
	}
	return "", false
}

// buy holds a seat that nobody else asks for, looks at the pass, and books it.
func (m *mall) buy(ctx context.Context) bool {
	n := int(m.next.Add(1) - 1)
	name, i := m.rooms[n%len(m.rooms)], n/len(m.rooms)
	if i >= mallSeats {
		m.t.Error("all seats are sold")
		return false
	}
	seat := fmt.Sprintf("%s-%d", row(i/20), i%20+1)
	a := room.Admission{Room: name, Epoch: m.epoch, Number: room.Number(m.number.Add(1)), Visitor: room.NewVisitorID()}
	pass, err := m.ring.Pass(a, time.Now().Add(5*time.Minute))
	if err != nil {
		m.t.Error(err)
		return false
	}
	path := "/rooms/" + string(name)
	body, ok := m.call(ctx, "POST", path+"/holds", pass, `{"seats":["`+seat+`"]}`)
	var hold struct{ ID string }
	if !ok || json.Unmarshal([]byte(body), &hold) != nil || hold.ID == "" {
		return false
	}
	if _, ok = m.call(ctx, "GET", path+"/pass", pass, ""); !ok {
		return false
	}
	if _, ok = m.call(ctx, "POST", path+"/holds/"+hold.ID+"/confirm", pass, ""); !ok {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sold[string(name)+"/"+seat] = true
	return true
}

// refusals empties the list of codes.
func (m *mall) refusals() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	codes := m.codes
	m.codes = map[string]int{}
	return codes
}

// check holds what was answered against the database.
func (m *mall) check() {
	m.t.Helper()
	db, err := sqldb.Open(m.t.Context(), m.db)
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	var booked []string
	if err := db.SelectContext(m.t.Context(), &booked, "SELECT CONCAT(room, '/', id) FROM seats JOIN booked_seats USING (room, hold) WHERE seats.id = booked_seats.seat AND state = 'booked'"); err != nil {
		m.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, seat := range booked {
		there[seat] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	lost := 0
	for seat := range m.sold {
		if !there[seat] {
			lost++
		}
	}
	if lost > 0 {
		m.t.Errorf("%d of %d purchases that were answered are not in the database", lost, len(m.sold))
	}
	if n := m.count("(SELECT room FROM stock s WHERE booked <> (SELECT COUNT(*) FROM booked_seats b WHERE b.room = s.room)) wrong"); n != 0 {
		m.t.Errorf("%d rooms have a counter that is not the number of their bookings", n)
	}
	m.t.Logf("%d seats sold, %d booked; the slowest answer took %s", len(m.sold), len(there), m.slowest.Round(time.Millisecond))
	if m.slowest > patience {
		m.t.Errorf("an answer took %s, want %s at most", m.slowest, patience)
	}
}

// A database that fails over, is killed, or freezes under a pool of which twenty
// connections and more are busy: visitors meanwhile hear that they are to come back, all
// of them are served within 10 s of its return, without a restart of the booker, and no
// purchase that was answered is lost.
func TestFailover(t *testing.T) {
	const visitors, busy = 60, 20
	server := testenv.StartMariaDB(t)
	relay := testenv.NewRelay(t, server.Addr()) // as a name or a balancer that leads to the server that writes
	m := newMall(t, server.At(relay.Addr))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	bought := make([]atomic.Int64, visitors)
	var load sync.WaitGroup
	for i := range bought {
		load.Go(func() { // ends with stop
			for m.buy(ctx) {
				bought[i].Add(1)
				pause(ctx, 50*time.Millisecond) // for the sake of the seats
			}
		})
	}
	// each waits until every visitor has bought count more.
	each := func(what string, count int64) (took time.Duration) {
		t.Helper()
		began := time.Now()
		from := make([]int64, visitors)
		for i := range bought {
			from[i] = bought[i].Load()
		}
		for i := range bought {
			for ; bought[i].Load() < from[i]+count; time.Sleep(time.Millisecond) { // between two looks
				if time.Since(began) > 3*backIn {
					t.Fatalf("%s: visitor %d is not served", what, i)
				}
			}
		}
		return time.Since(began)
	}
	each("at the beginning", 1)
	for _, fault := range []struct {
		name string
		do   func()
	}{
		{"read only", func() {
			before := relay.Opened()
			server.Exec("SET GLOBAL read_only = 1")
			time.Sleep(3 * time.Second) // how long it lasts
			if left := relay.Opened() - before; left < busy {
				t.Errorf("%d connections to a server that is read only were left for others, want all, more than %d", left, busy)
			}
			server.Exec("SET GLOBAL read_only = 0")
		}},
		{"killed", func() { server.Kill(); server.Restart() }},
		{"restarted", server.Restart},
		{"frozen", func() {
			server.Pause()
			time.Sleep(5 * time.Second) // how long it lasts
			server.Resume()
		}},
	} {
		for end := time.Now().Add(backIn); m.count("information_schema.processlist") <= busy; time.Sleep(time.Millisecond) { // between two looks
			if time.Now().After(end) {
				t.Fatalf("the booker never has %d connections", busy)
			}
		}
		if codes := m.refusals(); len(codes) > 0 {
			t.Errorf("before it is %s: got refusals %v", fault.name, codes)
		}
		fault.do()
		took := each("after it was "+fault.name, 1)
		t.Logf("%s: all visitors bought within %s of its return; meanwhile %v", fault.name, took.Round(time.Millisecond), m.refusals())
		if took > backIn {
			t.Errorf("%s: all visitors are served after %s, want %s", fault.name, took, backIn)
		}
		each("afterwards", 2)
		m.refusals() // some visitors were still told of it when the first ones bought
		each("in the end", 1)
	}
	stop()
	load.Wait()
	m.check()
	m.end()
}
