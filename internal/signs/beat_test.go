package signs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLine keeps signs. It answers err, or hangs until its caller gives up.
type fakeLine struct {
	mu     sync.Mutex
	err    error
	hangs  bool
	signs  []room.Sign
	at     []time.Time
	flying int
	most   int
}

func (l *fakeLine) Sign(ctx context.Context, sign room.Sign) error {
	l.mu.Lock()
	l.flying++
	l.most = max(l.most, l.flying)
	hangs := l.hangs
	l.at = append(l.at, time.Now())
	l.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying--
	if hangs {
		return fmt.Errorf("%w: %w", room.ErrAway, ctx.Err())
	}
	if l.err != nil {
		return l.err
	}
	l.signs = append(l.signs, sign)
	return nil
}

func (l *fakeLine) set(err error, hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.hangs = err, hangs
}

// A beat a second with what the rooms say then, and one that says "stopped".
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &fakeLine{}
		asked := int64(0)
		var stopping atomic.Bool
		beat := NewBeat(line, room.RoleNode, "v1", func() []room.RoomSign {
			if stopping.Load() {
				return nil // a process that stops has let go of its rooms
			}
			asked++
			return []room.RoomSign{{Room: "sale", Visitors: asked}}
		}, zap.NewNop())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- beat.Run(ctx) }()
		time.Sleep(2500 * time.Millisecond)
		stopping.Store(true)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: got %v, want nil", err)
		}
		if len(line.signs) != 4 {
			t.Fatalf("got %d signs in 2.5 s and a stop, want 4", len(line.signs))
		}
		for i, s := range line.signs {
			up := int64(i) * 1000
			visitors := int64(i + 1)
			if i == 3 { // the last one repeats what was known
				up, visitors = 2500, 3
			}
			if s.ID != beat.ID() || s.Role != room.RoleNode || s.Version != "v1" || s.UpMS != up || s.Stopped != (i == 3) ||
				len(s.Rooms) != 1 || s.Rooms[0].Visitors != visitors {
				t.Errorf("sign %d: got %+v, want it up for %d ms", i, s, up)
			}
		}
	})
}

// A Redis that is away is logged once per cause, tried once a second, and never by two
// calls at a time; one that hangs costs a stop one second at most.
func TestBeatAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &fakeLine{}
		core, logs := observer.New(zap.DebugLevel)
		beat := NewBeat(line, room.RoleAdmitter, "v1", func() []room.RoomSign { return nil }, zap.New(core))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- beat.Run(ctx) }()
		time.Sleep(500 * time.Millisecond)
		wait := func(what string, lines int) {
			t.Helper()
			time.Sleep(10 * time.Second)
			if got := logs.Len(); got != lines {
				t.Errorf("%s: got %d lines logged, want %d: %v", what, got, lines, logs.All())
			}
		}
		line.set(fmt.Errorf("%w: port 1", room.ErrAway), false)
		wait("away", 1)
		line.set(fmt.Errorf("%w: port 2", room.ErrAway), false)
		wait("away with another text", 1)
		line.set(nil, true)
		wait("hanging: another cause", 2)
		line.set(nil, false)
		wait("back", 3)
		line.set(room.ErrTooManySigns, false)
		wait("full", 4)
		line.set(errors.New("odd"), false)
		wait("odd", 5)
		line.set(nil, true)
		began := time.Now()
		stop()
		<-done
		if took := time.Since(began); took > callLimit {
			t.Errorf("a stop while Redis hangs: took %s, want %s at most", took, callLimit)
		}
		if line.most != 1 {
			t.Errorf("got %d calls at a time, want 1", line.most)
		}
		for i := 1; i < len(line.at)-1; i++ { // but the last, of the stop
			if gap := line.at[i].Sub(line.at[i-1]); gap < 500*time.Millisecond {
				t.Errorf("got a call %s after another, want a second between", gap)
			}
		}
		if n := len(line.at); n > 64 {
			t.Errorf("got %d calls in a minute, want one a second", n)
		}
	})
}
