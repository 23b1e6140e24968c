package admission

import (
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/line/linetest"
	"waitroom/internal/room"
)

// What an admitter asks of the line is what the contract is about, both ways.
var (
	_ line              = linetest.Admitter(nil)
	_ linetest.Admitter = line(nil)
)

// The fake keeps the contract that the line is held to in its own package.
func TestFakeLine(t *testing.T) {
	onFake := func(t *testing.T, conf room.Conf, play func(*testing.T, *world, linetest.Hands)) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(sale)
			l := w.lines[sale]
			conf.Epoch = l.epoch
			l.conf, l.state, l.rate = conf, conf.State, float64(conf.Rate)/1000
			time.Sleep(time.Second) // the bucket is full
			play(t, w, w.hands(t, conf))
		})
	}
	t.Run("admitter", func(t *testing.T) {
		linetest.Admitters(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.AdmitterStage)) {
			onFake(t, conf, func(t *testing.T, w *world, hands linetest.Hands) {
				l := w.lines[sale]
				play(t, &linetest.AdmitterStage{Hands: hands, Line: w,
					Unsure: func() { w.unsure = room.ErrUnsure },
					Absent: func(numbers ...room.Number) {
						l.absent = map[room.Number]bool{}
						for _, n := range numbers {
							l.absent[n] = true
						}
					},
					Seen:    func(p room.Place) { delete(l.absent, p.Number) },
					Abandon: func() { time.Sleep(30 * time.Second) },
					Sign: func(s room.Sign) {
						s.At = time.Now()
						w.signs = append(w.signs, s)
					},
				})
			})
		})
	})
	t.Run("rooms", func(t *testing.T) {
		linetest.Registry(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.RoomsStage)) {
			onFake(t, conf, func(t *testing.T, w *world, hands linetest.Hands) {
				play(t, &linetest.RoomsStage{Hands: hands, Line: w})
			})
		})
	})
}

// hands are those of everybody but the admitter.
func (w *world) hands(t *testing.T, conf room.Conf) linetest.Hands {
	l := w.lines[sale]
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	// act is what a visitor does who has a slot.
	act := func(p room.Place, do func()) {
		t.Helper()
		if !l.active[p.Visitor] {
			t.Fatalf("%v has no slot", p)
		}
		do()
	}
	return linetest.Hands{Name: sale, Conf: conf, Pass: time.Sleep, Now: time.Now,
		Set: func(ch room.Change) {
			_, err := w.Set(t.Context(), sale, ch)
			must("set", err)
		},
		SoldOut: func() {
			_, err := w.Stock(t.Context(), sale, l.epoch, room.Stock{})
			must("sold out", err)
		},
		Delete: func() { w.remove(sale) },
		Lose:   func() { w.lose(sale) },
		Join: func(n int) []room.Place {
			w.join(sale, n)
			places := make([]room.Place, n)
			for i := range places {
				at := l.seq - room.Number(n-1-i)
				places[i] = room.Place{Visitor: visitorOf(at), Number: at}
			}
			l.lanes = []room.LaneState{{Lane: room.Lane{Name: "other-0", Batch: int64(l.seq)}, Epoch: l.epoch, First: places[0].Number, Granted: n, At: time.Now()}}
			return places
		},
		Admit: func(n int) {
			round, err := w.Admit(t.Context(), sale, room.Caller{Epoch: l.epoch}, n)
			if must("admit", err); round.Admitted != n {
				t.Fatalf("admit of %d: got %+v", n, round)
			}
		},
		Claim: func(p room.Place) {
			act(p, func() {
				l.claimed[p.Visitor], l.until[p.Visitor] = true, time.Now().Add(l.conf.Pass)
				l.stats.Claimed++
			})
		},
		Leave: func(p room.Place) {
			if l.drop(func(n room.Number) bool { return n == p.Number }) == 0 {
				act(p, func() { l.free(p.Visitor) })
			}
			l.stats.Left++
		},
		Finish: func(p room.Place) {
			freed, err := w.FinishAll(t.Context(), sale, room.Caller{Epoch: l.epoch}, []room.Place{p})
			if must("finish", err); freed != 1 {
				t.Fatalf("finish of %v: got %d", p, freed)
			}
		},
		Rejoin: func(p room.Place) room.Standing {
			standing, err := w.rejoin(sale, p)
			must("rejoin", err)
			return standing
		},
	}
}
