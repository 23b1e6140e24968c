package hub

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/line/linetest"
	"waitroom/internal/room"
)

// What a node asks of the line is what the contract is about, both ways.
var (
	_ Line          = linetest.Node(nil)
	_ linetest.Node = Line(nil)
)

// The fake keeps the contract that the line is held to in its own package.
func TestFakeLine(t *testing.T) {
	onFake := func(t *testing.T, conf room.Conf, play func(*testing.T, *fakeLine, linetest.Hands)) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeLine()
			conf.Epoch = f.conf.Epoch
			f.conf = conf
			play(t, f, f.hands(t))
		})
	}
	t.Run("node", func(t *testing.T) {
		linetest.Nodes(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.NodeStage)) {
			onFake(t, conf, func(t *testing.T, f *fakeLine, hands linetest.Hands) {
				play(t, &linetest.NodeStage{Hands: hands, Line: f, Reap: f.reap})
			})
		})
	})
	t.Run("rooms", func(t *testing.T) {
		linetest.Registry(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.RoomsStage)) {
			onFake(t, conf, func(t *testing.T, f *fakeLine, hands linetest.Hands) {
				play(t, &linetest.RoomsStage{Hands: hands, Line: f})
			})
		})
	})
}

// hands are those of everybody but the node.
func (f *fakeLine) hands(t *testing.T) linetest.Hands {
	node := room.Caller{Epoch: f.conf.Epoch, Process: "node"}
	batch := int64(0)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	return linetest.Hands{Name: show, Conf: f.conf, Pass: time.Sleep, Now: time.Now,
		Set: func(ch room.Change) {
			f.set(func() {
				f.conf = ch.On(f.conf)
				if event := ch.Event.On(f.event); event.Title != f.event.Title {
					event.Rev++
					f.event, f.conf.EventRev = event, event.Rev
				}
			})
		},
		SoldOut: func() { f.set(func() { f.conf.SoldOut = true }) },
		Delete:  f.delete,
		Lose:    func() { f.set(func() { f.whole = true }) },
		Unlist:  func() { f.set(func() { f.unlisted = true }) },
		Join: func(n int) []room.Place {
			batch++
			visitors := make([]room.VisitorID, n)
			for i := range visitors {
				visitors[i] = room.NewVisitorID()
			}
			joined, err := f.Join(t.Context(), show, node, room.Lane{Name: "other-0", Batch: batch}, visitors)
			must("join", err)
			places := make([]room.Place, n)
			for i := range places {
				places[i] = room.Place{Visitor: visitors[i], Number: joined.Number(i)}
			}
			return places
		},
		Admit: f.admit,
		Claim: func(p room.Place) {
			_, err := f.Claim(t.Context(), show, node, p)
			must("claim", err)
		},
		Leave: func(p room.Place) { must("leave", f.Leave(t.Context(), show, node, p)) },
		Finish: func(p room.Place) {
			f.set(func() {
				_, active := f.active[p.Visitor]
				if delete(f.active, p.Visitor); !active {
					must("finish", errors.New("nobody's pass"))
				}
			})
		},
		Rejoin: func(p room.Place) room.Standing {
			stands, err := f.Rejoin(t.Context(), show, node, []room.Place{p})
			must("rejoin", err)
			return stands[0].Standing
		},
	}
}
