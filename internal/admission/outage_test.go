package admission

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/room"
)

// faulty is a world of which one call fails now and then.
type faulty struct {
	*world
	call  string
	calls atomic.Int32
	fails func(n int32) bool // whether the nth of them fails
}

func (f *faulty) fault(call string) error {
	if call == f.call && f.fails(f.calls.Add(1)) {
		return errLost
	}
	return nil
}

func (f *faulty) Rooms(ctx context.Context) ([]room.Name, error) {
	if err := f.fault("rooms"); err != nil {
		return nil, err
	}
	return f.world.Rooms(ctx)
}

func (f *faulty) Admit(ctx context.Context, name room.Name, caller room.Caller, limit int) (room.Round, error) {
	if err := f.fault("admit"); err != nil {
		return room.Round{}, err
	}
	return f.world.Admit(ctx, name, caller, limit)
}

func (f *faulty) ReadOutbox(ctx context.Context, name room.Name, most int) ([]room.Entry, error) {
	if err := f.fault("outbox"); err != nil {
		return nil, err
	}
	return f.world.ReadOutbox(ctx, name, most)
}

func wantSaid(t *testing.T, logs *observer.ObservedLogs, what string, want int) {
	t.Helper()
	if got := logs.FilterMessage(what).Len(); got != want {
		t.Errorf("%q: got %d lines, want %d, of %v", what, got, want, logs.All())
	}
}

// Who opens the log while the line is away reads it, whenever that is.
func TestAwayIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		f := &faulty{world: newWorld(sale), call: "rooms", fails: func(int32) bool { return away.Load() }}
		_, logs, _ := serve(t, Config{}, f, f)
		time.Sleep(3*time.Second + registryEvery/2) // between two reads
		away.Store(true)
		time.Sleep(time.Hour)
		away.Store(false)
		time.Sleep(3 * time.Second)
		wantSaid(t, logs, "the registry can't be read, the rooms known are served on", 12)
		wantSaid(t, logs, "the registry can be read again", 1)
	})
}

// Rounds that fail at every other try are half the admissions, and told as such.
func TestRoundsThatFailNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var odd atomic.Bool
		odd.Store(true)
		f := &faulty{world: newWorld(sale), call: "admit", fails: func(n int32) bool { return odd.Load() && n%2 == 0 }}
		f.world.join(sale, 100_000)
		_, logs, _ := serve(t, Config{}, f, f)
		time.Sleep(time.Minute)
		wantSaid(t, logs, "room admits nobody", 1)
		wantSaid(t, logs, "rounds come about again", 0)
		odd.Store(false)
		time.Sleep(3 * time.Second)
		wantSaid(t, logs, "rounds come about again", 1)
	})
}

// An outbox that can be read again and is empty is no trouble any more.
func TestRelayIsWellWithNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{world: newWorld(sale), call: "outbox", fails: func(n int32) bool { return n == 1 }}
		_, logs, _ := serve(t, Config{}, f, f)
		f.world.mu.Lock()
		f.world.admit = func() *room.Round { return &room.Round{Stop: room.StopEmpty, Outbox: 1} } // another replica relays it
		f.world.mu.Unlock()
		time.Sleep(3 * time.Second)
		wantSaid(t, logs, "relay: admissions wait in the outbox, trying again without bound", 1)
		wantSaid(t, logs, "relay: works again", 1)
	})
}
