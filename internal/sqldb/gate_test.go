package sqldb

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
)

// Who waits for a connection gets one in the order of the calls.
func TestOrder(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		db := opened(t, dsn)
		room := cap(db.conns.inside)
		if db.Dialect == SQLite {
			room = 1 // one writer
		}
		release := make(chan struct{})
		inside, done := make(chan struct{}), make(chan error)
		for range room {
			go func() { // ends with release
				done <- db.Tx(t.Context(), func(*sqlx.Tx) error { inside <- struct{}{}; <-release; return nil })
			}()
			<-inside
		}
		const waiters = 30
		queue := db.conns
		if db.writer != nil {
			queue = db.writer
		}
		turns := make(chan int, waiters)
		for i := range waiters {
			go func() { // ends with release
				done <- db.Tx(t.Context(), func(*sqlx.Tx) error { turns <- i; <-release; return nil })
			}()
			for queue.waiting.Load() != int64(i+1) {
				time.Sleep(time.Millisecond) // until it stands in the queue
			}
		}
		var got, want []int
		for i := range waiters {
			release <- struct{}{} // one leaves, the next enters
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			got, want = append(got, <-turns), append(want, i)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got turns %v, want the order of the calls", got)
		}
		close(release)
		for range room {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A full gate bounds who waits, and lets go whose context ends.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, leave := context.WithCancel(t.Context())
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ends := make(chan error, 2)
		for _, ctx := range []context.Context{left, late} {
			go func() { ends <- g.enter(ctx) }() // ends with its context
		}
		synctest.Wait()
		leave()
		if err := <-ends; !errors.Is(err, context.Canceled) || errors.Is(err, ErrAway) {
			t.Errorf("who left: got %v, want the context's end", err)
		}
		if err := <-ends; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrAway) {
			t.Errorf("who waited too long: got %v, want ErrAway", err)
		}
		if err := g.enter(left); !errors.Is(err, context.Canceled) {
			t.Errorf("who had left before: got %v, want the context's end", err)
		}
		in := make(chan error, mostWaiting)
		for range mostWaiting {
			go func() { in <- g.enter(t.Context()) }() // ends when those before have left
		}
		synctest.Wait()
		if err := g.enter(t.Context()); !errors.Is(err, ErrAway) {
			t.Errorf("one more than may wait: got %v, want ErrAway", err)
		}
		for range mostWaiting {
			g.leave()
			if err := <-in; err != nil {
				t.Fatal(err)
			}
		}
		g.leave()
		if n := g.waiting.Load(); n != 0 {
			t.Errorf("got %d waiting, want none", n)
		}
	})
}
