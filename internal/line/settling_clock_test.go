package line

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// A clock that steps back right after a loss does not end the seconds in which no act is
// made: the lost one is still on its way. By the new time they are three as well.
func TestActAfterALossAndAClockThatStepsBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		back := saved(t, rdb, name)
		act := func(notice string) error {
			_, err := l.Set(ctx, name, room.Change{Actor: "ann", Notice: &notice})
			return err
		}
		if err := act("lost"); err != nil {
			t.Fatal(err)
		}
		read, err := l.Snapshot(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Hour)
		back()
		if err := act("at the loss"); !errors.Is(err, room.ErrRecovering) {
			t.Fatalf("at the loss: got %v, want %v", err, room.ErrRecovering)
		}
		clock.pass(-time.Hour)
		if err := act("at once"); !errors.Is(err, room.ErrRecovering) {
			t.Errorf("the clock is back by an hour: got %v, want %v", err, room.ErrRecovering)
		}
		if err := l.soldOut(ctx, name, conf.Epoch, 7); !errors.Is(err, room.ErrRecovering) {
			t.Errorf("sold out then: got %v, want %v", err, room.ErrRecovering)
		}
		clock.pass(time.Second)
		if err := l.Recreate(ctx, name, caller(conf.Epoch), read.Saved); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Status(ctx, name); err != nil || s.Conf.Notice != "lost" {
			t.Errorf("got the notice %q, %v, want the lost one", s.Conf.Notice, err)
		}
		clock.pass(2 * time.Second)
		if err := act("later"); err != nil {
			t.Errorf("three seconds after the step: %v", err)
		}
	})
}
