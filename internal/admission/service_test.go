package admission

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

const sale room.Name = "sale"

// Every call fails once, at each of its first times, before or after it took
// effect: nobody admitted is lost, and repeats are the same record.
func TestLostReplies(t *testing.T) {
	for _, call := range []string{"rooms", "status", "admit", "read", "publish", "relayed"} {
		for n := 1; n <= 4; n++ {
			for _, f := range []fault{notSent, replyLost} {
				t.Run(fmt.Sprintf("%s/%d/%d", call, n, f), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(sale)
						w.join(sale, 60)
						var hit atomic.Bool
						c := &client{world: w, at: func(is string, i int) fault {
							if is == call && i == n {
								hit.Store(true)
								return f
							}
							return none
						}}
						_, _, stop := serve(t, Config{}, c, c)
						eventually(t, "all admitted and in Kafka, and the fault", func() bool {
							// The status is asked for once per life of a room.
							return w.settled(sale) && (hit.Load() || call == "status")
						})
						stop()
						w.balance(t, sale, 60)
					})
				})
			}
		}
	}
}

// A replica dies at each of its first calls, before or after the call took
// effect; another one, started later, brings it to an end.
func TestReplicaDies(t *testing.T) {
	for step := 1; step <= 24; step++ {
		for _, f := range []fault{notSent, replyLost} {
			t.Run(fmt.Sprintf("%d/%d", step, f), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(sale)
					w.join(sale, 60)
					calls := 0
					first := &client{world: w}
					first.at = func(string, int) fault { // called under no lock of ours: count in the world's
						w.mu.Lock()
						defer w.mu.Unlock()
						calls++
						switch {
						case calls < step:
							return none
						case calls == step:
							return f
						}
						return notSent // dead: nothing it does arrives
					}
					_, _, stop := serve(t, Config{}, first, first)
					eventually(t, "the first replica is dead", func() bool {
						w.mu.Lock()
						defer w.mu.Unlock()
						return calls > step
					})
					second := &client{world: w, at: func(string, int) fault { return none }}
					_, _, stopSecond := serve(t, Config{}, second, second)
					eventually(t, "all admitted and in Kafka", func() bool { return w.settled(sale) })
					stop()
					stopSecond()
					w.balance(t, sale, 60)
				})
			})
		}
	}
}

// Rounds come when due, never sooner than 10 ms after the last, never later
// than 100 ms, and at once when there is more.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name  string
		round room.Round
		want  time.Duration
	}{
		{"due", room.Round{Stop: room.StopRate, Due: 40 * time.Millisecond}, 40 * time.Millisecond},
		{"due sooner than rounds may come", room.Round{Stop: room.StopRate, Due: time.Millisecond}, 10 * time.Millisecond},
		{"due at once", room.Round{Stop: room.StopRate}, 10 * time.Millisecond},
		{"due much later", room.Round{Stop: room.StopRate, Due: time.Hour}, 100 * time.Millisecond},
		{"more", room.Round{Stop: room.StopMore, Admitted: room.MaxRound}, 0},
		{"cap", room.Round{Stop: room.StopCap}, 100 * time.Millisecond},
		{"cap until a deadline", room.Round{Stop: room.StopCap, Due: 30 * time.Millisecond}, 30 * time.Millisecond},
		{"empty", room.Round{Stop: room.StopEmpty}, 100 * time.Millisecond},
		{"paused", room.Round{Stop: room.StopPaused}, 100 * time.Millisecond},
		{"outbox", room.Round{Stop: room.StopOutbox, Outbox: room.MaxOutbox}, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(sale)
				answers := 0
				w.admit = func() *room.Round {
					if answers++; answers <= 5 {
						return &c.round
					}
					return &room.Round{Stop: room.StopEmpty}
				}
				_, _, stop := serve(t, Config{}, w, w)
				eventually(t, "six rounds", func() bool {
					w.mu.Lock()
					defer w.mu.Unlock()
					return len(w.admits) >= 6
				})
				stop()
				for i := 1; i < 6; i++ {
					if got := w.admits[i].Sub(w.admits[i-1]); got != c.want {
						t.Errorf("got round %d after %s, want %s", i+1, got, c.want)
					}
				}
			})
		})
	}
}

// A Kafka that takes 5 s per publish delays no round, and has one publish of a
// room in progress.
func TestSlowKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.block = 5 * time.Second
		w.join(sale, 2000)
		_, _, stop := serve(t, Config{}, w, w)
		eventually(t, "all admitted and in Kafka", func() bool { return w.settled(sale) })
		stop()
		w.balance(t, sale, 2000)
		for i := 1; i < len(w.admits) && w.admits[i].Sub(w.admits[0]) < 10*time.Second; i++ { // while somebody waits
			if got := w.admits[i].Sub(w.admits[i-1]); got > maxRound {
				t.Errorf("got %s between two rounds, want at most %s", got, maxRound)
			}
		}
	})
}

// Three replicas share one room: the rate is the line's, nothing is lost, and
// nothing is done twice while all is well.
func TestThreeReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.block = 7 * time.Millisecond
		w.join(sale, 2000)
		started := time.Now()
		var stops []func()
		for range 3 {
			// Each its own Kafka client: one publish in progress is each replica's rule.
			w := &client{world: w, at: func(string, int) fault { return none }}
			_, _, stop := serve(t, Config{}, w, &lonely{world: w.world})
			stops = append(stops, stop)
		}
		eventually(t, "all admitted and in Kafka", func() bool { return w.settled(sale) })
		took := time.Since(started).Seconds()
		for _, stop := range stops {
			stop()
		}
		w.balance(t, sale, 2000)
		if len(w.log) != 2000 {
			t.Errorf("got %d records, want each of 2000 once", len(w.log))
		}
		if took < 9.9 || took > 10.3 {
			t.Errorf("2000 visitors at 200/s took %.2f s, want 10", took)
		}
	})
}

// lonely publishes without the world's check for a second publish in progress.
type lonely struct{ *world }

func (l *lonely) Publish(ctx context.Context, records []events.Record) error {
	if len(records) > 0 && records[0].Topic == events.TopicRooms {
		return l.publishRooms(ctx, records)
	}
	time.Sleep(7 * time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.log = append(l.log, r)
		l.sent[r.Headers["ce_id"]] = true
	}
	return nil
}

// A stop finishes what was admitted; with Kafka away it ends all the same, and
// what it held stays in the outbox.
func TestStop(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("away %t", away), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(sale)
				w.join(sale, 100)
				w.block = 50 * time.Millisecond
				if away {
					w.away = errAny
				}
				_, _, stop := serve(t, Config{}, w, w)
				time.Sleep(205 * time.Millisecond)
				began := time.Now()
				stop()
				if took := time.Since(began); took > stopGrace+time.Second {
					t.Errorf("the stop took %s, want at most %s", took, stopGrace+time.Second)
				}
				l := w.lines[sale]
				switch {
				case !away && len(l.outbox) > 0:
					t.Errorf("got %d left in the outbox, want none", len(l.outbox))
				case away && l.depth() != int64(len(l.admitted)):
					t.Errorf("got %d in the outbox, want all %d admitted", l.depth(), len(l.admitted))
				}
			})
		})
	}
}

// Rooms come and go within a second; --room narrows rounds and relay.
func TestRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("one", "two")
		_, logs, stop := serve(t, Config{Rooms: []string{"one", "three"}}, w, w)
		if got := logs.FilterMessageSnippet("do not exist").Len(); got > 1 {
			t.Errorf("got %d lines about a room that does not exist, want 1", got)
		}
		w.join("one", 3)
		w.join("two", 3)
		eventually(t, "room one is served", func() bool { return w.settled("one") })
		time.Sleep(5 * time.Second)
		if w.settled("two") {
			t.Error("room two was served, want only those named")
		}
		w.create("three", "bbbbbbbb")
		w.join("three", 3)
		time.Sleep(registryEvery + maxRound + 5*time.Millisecond)
		if !w.settled("three") {
			t.Error("room three is not served a second after it was created")
		}
		w.remove("three")
		time.Sleep(registryEvery + maxRound + 5*time.Millisecond)
		if got := logs.FilterMessage("no longer serving room").Len(); got != 1 {
			t.Errorf("got %d rooms left, want the deleted one", got)
		}
		// The same name again is a new sale.
		w.create("three", "cccccccc")
		w.join("three", 3)
		time.Sleep(registryEvery + maxRound + 5*time.Millisecond)
		if !w.settled("three") {
			t.Error("room three is not served a second after it was created anew")
		}
		stop()
		if got := logs.FilterMessageSnippet("do not exist").Len(); got != 2 {
			t.Errorf("got %d lines about a room that does not exist, want one per change, 2", got)
		}
	})
}

// A room deleted and created between two looks at the registry gets its new
// epoch, and the flags again.
func TestNewEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := "50"
		w := newWorld(sale)
		_, _, _ = serve(t, Config{Rate: &rate}, w, w)
		time.Sleep(time.Second + 50*time.Millisecond)
		if got := len(w.setsOf(sale)); got != 1 {
			t.Errorf("got %d times the flags, want once", got)
		}
		w.create(sale, "bbbbbbbb")
		w.join(sale, 10)
		eventually(t, "the new line is served", func() bool { return w.settled(sale) })
		sets := w.setsOf(sale)
		if len(sets) != 1 || !sets[0].FromFlags || *sets[0].Rate != 50_000 || sets[0].Actor != "test@host" || sets[0].Burst != nil {
			t.Errorf("got flags %+v, want the rate of 50/s from flags, once", sets)
		}
	})
}

// What the line says about flags is logged: a value of another process that was
// replaced is an error that names both, a value that does not fit stops nothing.
func TestFlags(t *testing.T) {
	rate := "50"
	t.Run("replaced", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(sale)
			w.lines[sale].changed = room.Changed{Replaced: []room.Replaced{
				{Field: room.Field{Name: "rate", Old: "70000", New: "50000"}, Age: time.Minute}}}
			_, logs, stop := serve(t, Config{Rate: &rate}, w, w)
			time.Sleep(time.Second)
			stop()
			lines := logs.FilterMessageSnippet("flag replaced").All()
			if len(lines) != 1 || lines[0].Level != zapcore.ErrorLevel {
				t.Fatalf("got %v, want one error", lines)
			}
			fields := lines[0].ContextMap()
			if fields["old"] != "70000" || fields["new"] != "50000" || fields["field"] != "rate" {
				t.Errorf("got %v, want both values named", fields)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(sale)
			w.lines[sale].setErr = errAny
			w.join(sale, 5)
			_, logs, _ := serve(t, Config{Rate: &rate}, w, w)
			eventually(t, "the room is served", func() bool { return w.settled(sale) })
			if got := logs.FilterMessageSnippet("do not fit").Len(); got != 1 {
				t.Errorf("got %d lines about flags that don't fit, want 1", got)
			}
		})
	})
	t.Run("away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(sale)
			w.join(sale, 5)
			c := &client{world: w, at: func(call string, n int) fault {
				if call == "set" && n <= 3 {
					return notSent
				}
				return none
			}}
			serve(t, Config{Rate: &rate}, c, c)
			eventually(t, "the room is served", func() bool { return w.settled(sale) })
			if got := len(w.setsOf(sale)); got != 1 {
				t.Errorf("got the flags %d times, want once, after the line came back", got)
			}
		})
	})
	t.Run("wrong", func(t *testing.T) {
		bad, none := "many", int64(0)
		err := (&Config{Rooms: []string{"Not A Room"}, Rate: &bad, Burst: &none}).Check()
		for _, want := range []string{"--room", "--rate", "burst"} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want %s in it", err, want)
			}
		}
	})
}

// Why a room admits nobody is in the metrics at once and in the log once per
// change; what does not last a second is not logged.
func TestCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		stop := room.StopEmpty
		w.admit = func() *room.Round { return &room.Round{Stop: stop} }
		set := func(s room.Stop) {
			w.mu.Lock()
			defer w.mu.Unlock()
			stop = s
			w.lines[sale].rev++
		}
		s, logs, end := serve(t, Config{}, w, w)
		causes := func() string {
			var got []string
			for _, line := range logs.FilterFieldKey("cause").All() {
				got = append(got, fmt.Sprint(line.ContextMap()["cause"]))
			}
			return strings.Join(got, " ")
		}
		time.Sleep(3 * time.Second)
		for _, c := range []room.Stop{room.StopPaused, room.StopOutbox, room.StopRate} {
			set(c)
			time.Sleep(3 * time.Second)
		}
		for range 30 { // a full shop
			set(room.StopCap)
			time.Sleep(200 * time.Millisecond)
			set(room.StopRate)
			time.Sleep(200 * time.Millisecond)
		}
		if got, want := causes(), "paused outbox admitting"; got != want {
			t.Errorf("got causes %q logged, want %q", got, want)
		}
		if got := logs.FilterField(zap.String("cause", "outbox")).All()[0].Level; got != zapcore.ErrorLevel {
			t.Errorf("a deep outbox: got level %s, want error", got)
		}
		set(room.StopOutbox)
		time.Sleep(maxRound + 5*time.Millisecond)
		if got := gauge(t, s, "sale", "outbox"); got != 1 {
			t.Errorf("stopped{cause=outbox}: got %v, want 1", got)
		}
		set(room.StopEmpty)
		time.Sleep(maxRound + 5*time.Millisecond)
		if got := gauge(t, s, "sale", "outbox"); got != 0 {
			t.Errorf("stopped{cause=outbox}: got %v, want it gone", got)
		}
		end()
	})
}
