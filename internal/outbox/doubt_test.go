package outbox_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/outbox"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

// unsure is a hop in front of MySQL that can break a connection at its COMMIT: when it has
// taken effect and before its answer, or before it reaches the server.
type unsure struct {
	dsn  string
	wait sync.WaitGroup

	mu     sync.Mutex
	next   string     // guarded by mu: "", "lost" or "answer lost"
	conns  []net.Conn // guarded by mu
	broken int        // guarded by mu
}

func newUnsure(t *testing.T, dsn string) *unsure {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	u.Host = l.Addr().String()
	p := &unsure{dsn: u.String()}
	p.wait.Go(func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.wait.Go(func() { p.pass(in, out) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wait.Wait()
	})
	return p
}

// pass copies packets of a client, and answers, until either side ends.
func (p *unsure) pass(in, out net.Conn) {
	defer in.Close()
	defer out.Close()
	var mu sync.Mutex // of muted, read by the other copy
	muted, answered := false, make(chan struct{})
	p.wait.Go(func() {
		defer in.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := out.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			quiet := muted
			mu.Unlock()
			if quiet {
				close(answered)
				return
			}
			if _, err := in.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	header := make([]byte, 4)
	for {
		if _, err := io.ReadFull(in, header); err != nil {
			return
		}
		size := int(binary.LittleEndian.Uint32(header) & 0xffffff)
		packet := make([]byte, 4+size)
		copy(packet, header)
		if _, err := io.ReadFull(in, packet[4:]); err != nil {
			return
		}
		how := ""
		if size > 1 && packet[4] == 0x03 && string(packet[5:]) == "COMMIT" {
			p.mu.Lock()
			if how = p.next; how != "" {
				p.next = ""
				p.broken++
			}
			p.mu.Unlock()
		}
		if how == "lost" {
			return
		}
		mu.Lock()
		muted = how != ""
		mu.Unlock()
		if _, err := out.Write(packet); err != nil {
			return
		}
		if how != "" {
			<-answered
			return
		}
	}
}

// breakNext breaks the next COMMIT.
func (p *unsure) breakNext(how string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = how
}

func (p *unsure) brokenSoFar() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// The deletion of facts that were published gets no answer. Had it taken effect, nothing
// is left; had it not, they are published again. None is lost.
func TestDeletionUnsure(t *testing.T) {
	for how, want := range map[string]int{"answer lost": 2, "lost": 4} {
		t.Run(how, func(t *testing.T) {
			p := newUnsure(t, testenv.MySQL(t))
			q := bookingtest.NewQueue()
			s, o := newShop(t, p.dsn, 0, q, prometheus.NewRegistry())
			add(t, s.DB, about("k", "1"), about("k", "2"))
			p.breakNext(how)
			if _, err := o.Step(t.Context()); err == nil || p.brokenSoFar() != 1 {
				t.Errorf("got %v with %d commits broken, want an error by the one", err, p.brokenSoFar())
			}
			steps(t, o)
			if got := len(q.All()); got != want || values(q.All(), all) != "1 2" {
				t.Errorf("got %d published, %s, want %d in order", got, values(q.All(), all), want)
			}
		})
	}
}

// After an error of the database nothing is held for published by its id: a server that
// took over, without the last commits of the one before, gives the id to another fact.
func TestDoubtForgetsIDs(t *testing.T) {
	dsn := testenv.MySQL(t)
	p := newUnsure(t, dsn)
	q := bookingtest.NewQueue()
	_, o := newShop(t, p.dsn, 0, q, prometheus.NewRegistry())
	db := bookingtest.Open(t, dsn)
	add(t, db, about("k", "held by a stranger"))
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx.MustExecContext(t.Context(), "SELECT id FROM facts WHERE id = 1 FOR UPDATE")
	if _, err := o.Step(t.Context()); err != nil { // published, and not deleted
		t.Fatal(err)
	}
	add(t, db, about("k", "next"))
	p.breakNext("lost")
	if _, err := o.Step(t.Context()); err == nil || p.brokenSoFar() != 1 {
		t.Errorf("got %v with %d commits broken, want an error by the one", err, p.brokenSoFar())
	}
	// The server that takes over never heard of the first fact, and gives its id again.
	_ = tx.Rollback()
	write(t, db, "UPDATE facts SET payload = ? WHERE id = 1", []byte("another"))
	run(t, o, nil)
	until(t, "an empty table", func() bool {
		n, err := o.Depth(context.WithoutCancel(t.Context()))
		return n == 0 && err == nil
	})
	if got := values(q.All(), all); got != "held by a stranger next another" {
		t.Errorf("got %s, want the other fact too", got)
	}
}

// So it is whatever the database was asked.
func TestDoubtOfEveryAnswer(t *testing.T) {
	for name, fail := range map[string]func(t *testing.T, db *sqldb.DB, o *outbox.Outbox, p *unsure, q *bookingtest.Queue) error{
		"what was to be put aside": func(t *testing.T, db *sqldb.DB, o *outbox.Outbox, p *unsure, q *bookingtest.Queue) error {
			q.Sicken(3, errors.New("no leader"))
			add(t, db, about(keyOf(3), "sick"))
			if _, err := o.Step(t.Context()); err != nil { // found stuck
				t.Fatal(err)
			}
			p.breakNext("lost")
			_, err := o.Step(t.Context())
			q.Sicken(3, nil)
			return err
		},
		"who carries": func(t *testing.T, db *sqldb.DB, o *outbox.Outbox, _ *unsure, _ *bookingtest.Queue) error {
			write(t, db, "ALTER TABLE leases RENAME TO hidden")
			err := o.Look(t.Context())
			write(t, db, "ALTER TABLE hidden RENAME TO leases")
			return err
		},
		"what an older booker left": func(t *testing.T, db *sqldb.DB, o *outbox.Outbox, _ *unsure, _ *bookingtest.Queue) error {
			write(t, db, "ALTER TABLE outbox RENAME TO hidden")
			_, err := o.Step(t.Context())
			write(t, db, "ALTER TABLE hidden RENAME TO outbox")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := testenv.MySQL(t)
			p := newUnsure(t, dsn)
			q := bookingtest.NewQueue()
			_, o := newShop(t, p.dsn, 0, q, prometheus.NewRegistry())
			db := bookingtest.Open(t, dsn)
			add(t, db, about(keyOf(4), "held by a stranger"))
			tx, err := db.BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			tx.MustExecContext(t.Context(), "SELECT id FROM facts WHERE id = 1 FOR UPDATE")
			if _, err := o.Step(t.Context()); err != nil { // published, and not deleted
				t.Fatal(err)
			}
			if err := fail(t, db, o, p, q); err == nil {
				t.Fatal("got no error of the database, want one")
			}
			_ = tx.Rollback()
			write(t, db, "UPDATE facts SET payload = ? WHERE id = 1", []byte("another"))
			run(t, o, nil)
			until(t, "an empty table", isEmpty(t, o))
			if got := values(q.All(), all); !strings.Contains(got, "another") {
				t.Errorf("got %s, want the other fact too", got)
			}
		})
	}
}
