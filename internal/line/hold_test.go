package line

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// place is a place that somebody was told and that the line may have lost.
func place(n room.Number) room.Place {
	return room.Place{Visitor: room.NewVisitorID(), Number: n}
}

// mark tells the line of a process that heard number n.
func mark(t *testing.T, l *Lines, name room.Name, conf room.Conf, n room.Number) {
	t.Helper()
	by := caller(conf.Epoch)
	by.Mark = n
	if _, _, err := l.Report(background(), name, by); err != nil {
		t.Fatalf("report of mark %d: %v", n, err)
	}
}

// comesBack brings visitors back to numbers that the line lost.
func comesBack(t *testing.T, l *Lines, name room.Name, conf room.Conf, places ...room.Place) {
	t.Helper()
	stands, err := l.Rejoin(background(), name, caller(conf.Epoch), places)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range stands {
		if s.Standing != room.Waiting {
			t.Fatalf("number %d comes back: got %v, want it waiting", places[i].Number, s.Standing)
		}
	}
}

// makeRound is a round for everybody.
func makeRound(t *testing.T, l *Lines, name room.Name, conf room.Conf) room.Round {
	t.Helper()
	round, err := l.Admit(background(), name, caller(conf.Epoch), room.MaxRound)
	if err != nil {
		t.Fatalf("admit: %v", err)
	}
	return round
}

// wantRound is a round that must admit so many and end for that reason.
func wantRound(t *testing.T, l *Lines, name room.Name, conf room.Conf, what string, admitted int, stop room.Stop) room.Round {
	t.Helper()
	r := makeRound(t, l, name, conf)
	if r.Admitted != admitted || r.Stop != stop {
		t.Fatalf("%s: got %+v, want %d admitted and %q", what, r, admitted, stop)
	}
	return r
}

// All processes were heard, and numbers are given again: those who lost theirs still have
// the rest of the ten seconds to come back before somebody behind them is let in.
func TestHoldOutlivesTheAsking(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		l, conf := New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		mark(t, l, name, conf, 10)
		clock.pass(2 * time.Second)
		mark(t, l, name, conf, 10) // everybody was heard
		behind := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 2}, 1)
		if behind[0].Number != 11 {
			t.Fatalf("joined: got %v, want number 11", behind)
		}
		wantRound(t, l, name, conf, "the first round", 3, room.StopRecovering)
		clock.pass(5 * time.Second)
		wantRound(t, l, name, conf, "7 s after the loss", 0, room.StopRecovering)
		comesBack(t, l, name, conf, place(7), place(5))
		clock.pass(3 * time.Second)
		if round := wantRound(t, l, name, conf, "10 s after the loss", 3, room.StopEmpty); round.Last != 11 {
			t.Errorf("got %+v, want number 11 as the last", round)
		}
	})
}

// A second loss before all came back from the first forgets nobody of the first.
func TestHoldOfASecondLoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		l, conf := New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		mark(t, l, name, conf, 10)
		comesBack(t, l, name, conf, place(8)) // 4 to 7 are on their way
		clock.pass(time.Second)
		restarted(t, rdb, name)
		mark(t, l, name, conf, 10)
		clock.pass(time.Second)
		wantRound(t, l, name, conf, "a restart within the hold", 3, room.StopRecovering)
		comesBack(t, l, name, conf, place(5))
		clock.pass(10 * time.Second)
		wantRound(t, l, name, conf, "after both", 2, room.StopEmpty)
	})
}

// Who comes back puts the hold off for the others, for two minutes at most: somebody who
// has one number after another must not stop a sale. Nor must a clock that steps back.
func TestHoldEndsAfterTwoMinutes(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, back := range []time.Duration{0, 365 * 24 * time.Hour} {
			clock := newHand()
			l, conf := New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			clock.pass(back)
			mark(t, l, name, conf, 1000)
			clock.pass(-back)
			makeRound(t, l, name, conf) // the bucket fills from here on
			for i := range 119 {
				clock.pass(time.Second)
				comesBack(t, l, name, conf, place(room.Number(1000-i)))
			}
			wantRound(t, l, name, conf, "119 s after the loss", 0, room.StopRecovering)
			clock.pass(time.Second)
			comesBack(t, l, name, conf, place(500))
			if round := wantRound(t, l, name, conf, "120 s after the loss", 120, room.StopEmpty); round.Last != 1000 {
				t.Errorf("the clock went back by %v: got %+v, want all up to 1000", back, round)
			}
		}
	})
}

// A clock that steps back after a loss holds nobody for as long as it went: all who lost
// their place have ten seconds by the new time, and are still waited for.
func TestHoldWhenTheClockStepsBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, back := range []time.Duration{50 * time.Second, 365 * 24 * time.Hour} {
			clock := newHand()
			l, conf := New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
			clock.pass(back)
			mark(t, l, name, conf, 20)
			comesBack(t, l, name, conf, place(8))
			clock.pass(-back)
			wantRound(t, l, name, conf, "the clock is back", 0, room.StopRate) // of a time that has not come
			clock.pass(9 * time.Second)
			wantRound(t, l, name, conf, "9 s later", 3, room.StopRecovering)
			comesBack(t, l, name, conf, place(6)) // gives the others two seconds more
			clock.pass(1500 * time.Millisecond)
			wantRound(t, l, name, conf, "10.5 s later", 0, room.StopRecovering)
			clock.pass(500 * time.Millisecond)
			wantRound(t, l, name, conf, "11 s later", 2, room.StopEmpty)
		}
	})
}

// What a bucket that was brought back holds was perhaps spent already: after a loss the
// line begins without credit, so that rate·t + burst stays the most that is admitted.
func TestCreditAfterALoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		l, conf := New(rdb, WithClock(clock.now)), openConf()
		conf.Rate, conf.Burst = 10_000, 100 // ten a second
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 300)
		clock.pass(time.Minute) // the bucket is full
		wantRound(t, l, name, conf, "a full bucket", 100, room.StopRate)
		clock.pass(time.Minute)
		restarted(t, rdb, name)
		wantRound(t, l, name, conf, "at the loss", 0, room.StopRate)
		clock.pass(time.Second)
		wantRound(t, l, name, conf, "a second later", 10, room.StopRate)
	})
}
