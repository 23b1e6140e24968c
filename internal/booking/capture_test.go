package booking

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

// owing is a booker with one booking, of A-1, whose money is due to be taken.
func owing(t *testing.T, dsn string) (*Booker, *till) {
	t.Helper()
	g := newTill(t)
	g.capture = func() error { return errors.New("gateway is away") }
	b := newBooker(t, dsn, 1, func(p *Parts) { p.Gateway = g })
	p := newPass()
	if _, err := b.Confirm(t.Context(), p, mustHold(t, b.store, p, "A-1", noon).ID); err != nil {
		t.Fatal(err)
	}
	b.clock.now = func() time.Time { return noon.Add(2 * captureAfter) }
	return b, g
}

// busyStranger holds what the statement locks, and is alive: the server gives it up no
// sooner than unlock is called, once.
func busyStranger(t *testing.T, dsn, statement string) (unlock func()) {
	t.Helper()
	tx, err := openDB(t, dsn).BeginTxx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	enough, gone := make(chan struct{}), make(chan error)
	go func() { // ends with unlock
		for {
			select {
			case <-enough:
				gone <- tx.Rollback()
				return
			default:
			}
			_, _ = tx.ExecContext(context.WithoutCancel(t.Context()), "DO SLEEP(0.1)") // the rollback says what is wrong
		}
	}()
	return func() {
		t.Helper()
		close(enough)
		if err := <-gone; err != nil {
			t.Fatal(err)
		}
	}
}

// A stranger who has a booking's row locked keeps its money's note waiting for some
// seconds, be it taken or refused, and with it the next step. It is taken all the same.
func TestCaptureWaitsForNoLock(t *testing.T) {
	for name, refusal := range map[string]error{"taken": nil, "refused": errors.New("the account is closed")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testenv.MySQL(t)
			b, g := owing(t, dsn)
			g.capture = func() error { return refusal }
			unlock := busyStranger(t, dsn, "UPDATE bookings SET payment = payment")
			began := time.Now()
			if _, err := b.capture(t.Context()); !errors.Is(err, sqldb.ErrAway) {
				t.Errorf("got %v, want %v", err, sqldb.ErrAway)
			}
			if took := time.Since(began); took > captureNote+2*time.Second { // a statement ends a second after its time
				t.Errorf("a lock was waited for %s, want at most %s and a second", took, captureNote)
			}
			unlock()
			g.capture = nil
			// What was given up may have been done after all: then it was put behind the others.
			b.clock.now = func() time.Time { return noon.Add(2*captureAfter + captureMost) }
			if _, err := b.capture(t.Context()); err != nil {
				t.Errorf("nobody has it locked: %v", err)
			}
			wantTill(t, g, map[string]int{"captured": 1})
		})
	}
}

// A database that hangs keeps nobody from stopping, money that was just taken neither: the
// gateway is asked again by whoever comes next, which takes nothing.
func TestStopWhileDatabaseHangs(t *testing.T) {
	u, err := url.Parse(testenv.MySQL(t))
	if err != nil {
		t.Fatal(err)
	}
	direct := u.String()
	relay := testenv.NewRelay(t, u.Host)
	u.Host = relay.Addr
	b, g := owing(t, u.String())
	taken := make(chan struct{}, 1)
	g.capture = func() error {
		relay.Silence()
		select {
		case taken <- struct{}{}:
		default:
		}
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }() // waited for below
	<-taken
	began := time.Now()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %s, want 5 s at most", took)
	}
	relay.Cut()

	next, err := New(t.Context(), config, Parts{DB: openDB(t, direct), Publisher: newQueue(), Gateway: g, Log: b.log, Metrics: newBookerParts(t, sqliteDSN(t)).Metrics})
	if err != nil {
		t.Fatal(err)
	}
	g.capture = nil
	next.clock.now, next.clock.since = func() time.Time { return noon.Add(2*captureAfter + captureMost) }, nil
	captured(t, next, g, "ref-1")
}
