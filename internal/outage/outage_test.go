package outage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func watch(config Config) (*Log, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	config.Log, config.Down, config.Up = zap.New(core), "it does not work", "it works again"
	return New(config), logs
}

// take returns the lines since the last call, as "level message cause".
func take(logs *observer.ObservedLogs) string {
	var got []string
	for _, e := range logs.TakeAll() {
		line := e.Level.String() + " " + e.Message
		if cause, has := e.ContextMap()["error"]; has {
			line += ": " + fmt.Sprint(cause)
		}
		got = append(got, line)
	}
	return strings.Join(got, "\n")
}

func wantLines(t *testing.T, what string, logs *observer.ObservedLogs, want ...string) {
	t.Helper()
	if got, want := take(logs), strings.Join(want, "\n"); got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

var errRefused = errors.New("connection errRefused")

// One line when it begins, one in five minutes while it lasts, one when it is over.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logs := watch(Config{})
		ctx := t.Context()
		l.Note(ctx, nil)
		wantLines(t, "well", logs)
		began := time.Now()
		try := func(n int) {
			for range n {
				l.Note(ctx, errRefused)
				time.Sleep(time.Second)
			}
		}
		try(299)
		wantLines(t, "the first 299 s", logs, "warn it does not work: connection errRefused")
		try(3301)
		all := logs.TakeAll()
		if len(all) != 11 {
			t.Fatalf("the rest of an hour: got %d lines, want one in five minutes, 11", len(all))
		}
		last := all[10].ContextMap()
		if since := last["since"].(time.Time); !since.Equal(began) || last["tries"] != int64(3301) || last["error"] != errRefused.Error() {
			t.Errorf("after 55 minutes: got %v, want since %s and 3,301 tries", last, began)
		}
		l.Note(ctx, nil)
		l.Note(ctx, nil)
		over := logs.TakeAll()
		if len(over) != 1 || over[0].Level != zap.InfoLevel || over[0].Message != "it works again" {
			t.Fatalf("over: got %v, want one line", over)
		}
		if got := over[0].ContextMap(); got["lasted"] != time.Hour || got["tries"] != int64(3600) {
			t.Errorf("over: got %v, want it to have lasted an hour and 3,600 tries", got)
		}
		l.Note(ctx, errRefused)
		wantLines(t, "the next outage", logs, "warn it does not work: connection errRefused")
	})
}

// Another cause is told at once, the same one under other numbers is not, nor one
// that comes back; more causes than maxKinds are not named.
func TestCauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logs := watch(Config{})
		note := func(err error) { l.Note(t.Context(), err) }
		note(errors.New("read tcp 127.0.0.1:41000->127.0.0.1:6379: reset"))
		wantLines(t, "first", logs, "warn it does not work: read tcp 127.0.0.1:41000->127.0.0.1:6379: reset")
		note(errors.New("read tcp 127.0.0.1:9->127.0.0.1:6379: reset"))
		wantLines(t, "another port", logs)
		note(errors.New("LOADING"))
		wantLines(t, "another cause", logs, "warn it does not work: LOADING")
		note(errors.New("read tcp 127.0.0.1:10->127.0.0.1:6379: reset"))
		note(errors.New("LOADING"))
		wantLines(t, "both again", logs)
		note(errors.Join(errors.New("part 1: away"), errors.New("part 2: busy")))
		wantLines(t, "joined", logs, "warn it does not work: part 1: away\npart 2: busy")
		note(errors.Join(errors.New("part 7: busy"), errors.New("part 1: away"), errors.New("part 2: away")))
		wantLines(t, "joined in another order", logs)

		for i := range 100 {
			note(fmt.Errorf("cause %c", 'A'+i))
		}
		if got := logs.TakeAll(); len(got) != maxKinds-3 {
			t.Errorf("100 causes: got %d lines, want %d", len(got), maxKinds-3)
		}
		time.Sleep(every)
		note(errors.New("cause Z"))
		note(errors.New("LOADING"))
		wantLines(t, "five minutes later", logs, "warn it does not work: cause Z", "warn it does not work: LOADING")
		note(errors.New(strings.Repeat("x", 10*kindSize)))
		if got := len(l.kinds[2]); got != kindSize {
			t.Errorf("a long cause: kept %d bytes, want %d", got, kindSize)
		}
	})
}

// Who is stopped has met no outage; who ran out of time has.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logs := watch(Config{})
		ctx, stop := context.WithCancel(t.Context())
		l.Note(ctx, fmt.Errorf("away: %w", context.Canceled))
		wantLines(t, "cancelled", logs)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		<-short.Done()
		l.Note(short, short.Err())
		wantLines(t, "too slow", logs, "warn it does not work: context deadline exceeded")
		stop()
		l.Note(ctx, errors.New("use of closed network connection"))
		l.Note(ctx, nil)
		wantLines(t, "stopped", logs)
		l.Note(t.Context(), nil)
		wantLines(t, "over", logs, "info it works again")
	})
}

// With Hold a blip is nobody's business, and what fails at every other try is one
// outage.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logs := watch(Config{Hold: time.Second, Grave: true})
		ctx := t.Context()
		l.Note(ctx, errRefused)
		time.Sleep(999 * time.Millisecond)
		l.Note(ctx, errRefused)
		time.Sleep(time.Second)
		l.Note(ctx, nil)
		wantLines(t, "a blip", logs)
		for range 60 {
			l.Note(ctx, errRefused)
			time.Sleep(100 * time.Millisecond)
			l.Note(ctx, nil)
			time.Sleep(100 * time.Millisecond)
		}
		wantLines(t, "every other try", logs, "error it does not work: connection errRefused")
		time.Sleep(time.Second)
		l.Note(ctx, nil)
		wantLines(t, "over", logs, "info it works again")
	})
}

// With Quiet an outage may end without anybody saying so.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logs := watch(Config{Quiet: 10 * time.Second})
		ctx := t.Context()
		for range 3 {
			l.Note(ctx, errRefused)
			time.Sleep(10 * time.Second)
		}
		wantLines(t, "one outage", logs, "warn it does not work: connection errRefused")
		time.Sleep(time.Second)
		l.Note(ctx, errRefused)
		wantLines(t, "another outage", logs, "warn it does not work: connection errRefused")
		time.Sleep(2 * time.Second)
		l.Note(ctx, errRefused)
		time.Sleep(time.Hour)
		l.Note(ctx, nil)
		over := logs.TakeAll()
		if len(over) != 1 || over[0].Level != zapcore.InfoLevel || over[0].ContextMap()["lasted"] != 2*time.Second {
			t.Errorf("well after an hour without a try: got %v, want an outage of 2 s", over)
		}
	})
}

// Many goroutines make one outage of it.
func TestTogether(t *testing.T) {
	l, logs := watch(Config{})
	start := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			<-start
			for range 1000 {
				l.Note(t.Context(), errRefused)
			}
		})
	}
	close(start)
	all.Wait()
	l.Note(t.Context(), nil)
	if got := logs.TakeAll(); len(got) != 2 || got[1].ContextMap()["tries"] != int64(8000) {
		t.Errorf("got %v, want one line at the start and one after 8,000 tries", got)
	}
}

// What is well costs nothing, so that hot paths may note each try.
func TestWellIsFree(t *testing.T) {
	l, _ := watch(Config{})
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { l.Note(ctx, nil) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// What is no longer tried is over at once, whatever Hold says; a stop ends nothing.
func TestOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logs := watch(Config{Hold: time.Second})
		ctx := t.Context()
		l.Over(ctx)
		wantLines(t, "well", logs)
		l.Note(ctx, errRefused)
		l.Over(ctx)
		wantLines(t, "over before it was told", logs)
		l.Note(ctx, errRefused)
		time.Sleep(time.Second)
		l.Note(ctx, errRefused)
		wantLines(t, "down", logs, "warn it does not work: connection errRefused")
		l.Note(ctx, nil)
		stopped, stop := context.WithCancel(ctx)
		stop()
		l.Over(stopped)
		wantLines(t, "within Hold, and a stop", logs)
		l.Over(ctx)
		l.Over(ctx)
		wantLines(t, "over", logs, "info it works again")
	})
}
