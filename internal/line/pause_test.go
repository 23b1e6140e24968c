package line

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Where a pause begins, and where a resume ends: nobody is let in before the
// room opens, and a room that was open does not close to its visitors.
func TestPauseAndResume(t *testing.T) {
	soon, passed := 10*time.Minute, 20*time.Minute
	pause, resume := room.Change{Pause: true}, room.Change{Resume: true}
	to := func(s room.State) room.Change { return room.Change{State: &s} }
	type step struct {
		after  time.Duration
		change room.Change
		want   room.State // stored, afterwards
		err    error
		names  string // within the error
	}
	for _, c := range []struct {
		name    string
		state   room.State
		opensIn time.Duration // 0: only an operator opens
		steps   []step
	}{
		{"open", room.Open, 0, []step{{0, pause, room.Paused, nil, ""}, {0, pause, room.Paused, nil, ""},
			{0, resume, room.Open, nil, ""}, {0, resume, room.Open, nil, ""}}},
		{"not yet open", room.Opening, soon, []step{{0, pause, room.Paused, nil, ""}, {time.Minute, resume, room.Opening, nil, ""}}},
		{"its time passes in the pause", room.Opening, soon, []step{{0, pause, room.Paused, nil, ""}, {passed, resume, room.Open, nil, ""}}},
		{"its time has passed before", room.Opening, soon, []step{{passed, pause, room.Paused, nil, ""},
			{0, room.Change{OpensAt: ptr(time.Time{})}, room.Paused, nil, ""}, {0, resume, room.Open, nil, ""}}},
		{"an operator opens it", room.Opening, 0, []step{{0, pause, room.Paused, nil, ""}, {passed, resume, room.Opening, nil, ""},
			{0, resume, room.Opening, room.ErrState, "opening"}}},
		{"opened by hand before its time", room.Open, soon, []step{{0, pause, room.Paused, nil, ""}, {0, resume, room.Open, nil, ""}}},
		{"postponed in the pause", room.Open, 0, []step{{0, pause, room.Paused, nil, ""},
			{0, room.Change{OpensAt: ptr(micros(start).Add(time.Hour))}, room.Paused, nil, ""}, {0, resume, room.Opening, nil, ""}}},
		{"made paused", room.Paused, soon, []step{{0, resume, room.Opening, nil, ""}}},
		{"opened out of the pause", room.Opening, soon, []step{{0, pause, room.Paused, nil, ""}, {0, to(room.Open), room.Open, nil, ""},
			{0, pause, room.Paused, nil, ""}, {0, resume, room.Open, nil, ""}}},
		{"closed", room.Closed, 0, []step{{0, pause, room.Closed, room.ErrState, "closed"}, {0, resume, room.Closed, room.ErrState, "closed"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
				clock := newHand()
				ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
				conf.State = c.state
				if c.opensIn > 0 {
					conf.OpensAt = clock.at().Add(c.opensIn)
				}
				name := create(t, l, conf)
				for i, s := range c.steps {
					clock.pass(s.after)
					s.change.Actor = "test"
					_, err := l.Set(ctx, name, s.change)
					if !errors.Is(err, s.err) || err != nil && !strings.Contains(err.Error(), s.names) {
						t.Errorf("step %d: got %v, want %v that names %q", i, err, s.err, s.names)
					}
					status, err := l.Status(ctx, name)
					if err != nil || status.Conf.State != s.want {
						t.Errorf("step %d: got %s, %v, want %s", i, status.Conf.State, err, s.want)
					}
				}
			})
		})
	}
}

// A pause brings its notice, and its resume takes away that one and no other.
func TestNoticeOfAPause(t *testing.T) {
	say := func(text string) room.Change { return room.Change{Notice: &text} }
	pause := func(text string) room.Change { return room.Change{Pause: true, Notice: &text} }
	quiet, resume := room.Change{Pause: true}, room.Change{Resume: true}
	for _, c := range []struct {
		name  string
		steps []room.Change
		want  string // notice in the end
	}{
		{"set and cleared", []room.Change{pause("back at 8"), resume}, ""},
		{"while it lasts", []room.Change{pause("back at 8")}, "back at 8"},
		{"a second word", []room.Change{pause("back at 8"), pause("back at 9"), quiet, resume}, ""},
		{"the operator's own before", []room.Change{say("cash only"), quiet, resume}, "cash only"},
		{"the operator's own during", []room.Change{pause("back at 8"), say("cash only"), resume}, "cash only"},
		{"the same text, said by the operator", []room.Change{pause("back at 8"), say("hello"), say("back at 8"), resume}, "back at 8"},
		{"of an earlier pause", []room.Change{pause("back at 8"), resume, say("back at 8"), quiet, resume}, "back at 8"},
		{"opened by hand", []room.Change{pause("back at 8"), {State: ptr(room.Open)}}, ""},
		{"closed instead", []room.Change{pause("cancelled"), {State: ptr(room.Closed)}}, "cancelled"},
		{"resumed with a word", []room.Change{pause("back at 8"), {Resume: true, Notice: ptr("thank you")}}, "thank you"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
				ctx, l := background(), New(rdb)
				name := create(t, l, openConf())
				for i, change := range c.steps {
					change.Actor = "test"
					if _, err := l.Set(ctx, name, change); err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
				}
				if status, err := l.Status(ctx, name); err != nil || status.Conf.Notice != c.want {
					t.Errorf("got notice %q, %v, want %q", status.Conf.Notice, err, c.want)
				}
			})
		})
	}
}

// An older version sets a notice without knowing of the pause's own.
func TestNoticeByAnOlderVersion(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l := background(), New(rdb)
		name := create(t, l, openConf())
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Pause: true, Notice: ptr("back at 8")}); err != nil {
			t.Fatal(err)
		}
		rdb.HSet(ctx, confKey(name), "notice", "cash only")
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Resume: true}); err != nil {
			t.Fatal(err)
		}
		if status, err := l.Status(ctx, name); err != nil || status.Conf.Notice != "cash only" {
			t.Errorf("got notice %q, %v, want the other one", status.Conf.Notice, err)
		}
	})
}
