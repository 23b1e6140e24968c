package hub

import (
	"errors"
	"slices"
	"testing"
	"time"

	"waitroom/internal/room"
)

// unheard has one visitor join a line that does what it is asked, and whose answers
// are lost; it returns once the node has given up.
func (b *bench) unheard() {
	b.Helper()
	b.line.set(func() { b.line.lose = 1 << 30 })
	if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrAway) {
		b.Fatalf("got %v of a line whose answers are lost, want away", err)
	}
}

func (f *fakeLine) numbers() (n []room.Number) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.queue {
		n = append(n, p.Number)
	}
	return n
}

// A batch that the line may have joined unheard belongs to nobody once its visitors
// were told that the line is away: it is given back, before others join and without
// anybody who joins.
func TestAnUnheardBatchIsGivenBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(1)
		b.unheard()
		if got := b.line.numbers(); !slices.Equal(got, []room.Number{1, 2}) {
			b.Fatalf("got %v waiting, want the unheard number among them", got)
		}
		b.pass(5 * time.Second)
		b.line.set(func() { b.line.lose = 0 })
		b.pass(2 * time.Second)
		if got := b.line.numbers(); !slices.Equal(got, []room.Number{1}) {
			b.Errorf("got %v waiting once the line answers, want the unheard number given back", got)
		}
		given := b.line.count("give back")
		b.pass(10 * time.Second)
		if got := b.line.count("give back"); got != given {
			b.Errorf("got %d more calls after the answer, want none", got-given)
		}
		// The batch comes late, as from a proxy that held it.
		late := b.line.joins[len(b.line.joins)-1]
		_, err := b.line.Join(b.Context(), show, room.Caller{Epoch: b.line.conf.Epoch, Process: "node"}, late, []room.VisitorID{room.NewVisitorID()})
		if !errors.Is(err, room.ErrStaleBatch) {
			b.Errorf("the batch itself, late: got %v, want it refused", err)
		}
		// Who joins in the moment the line answers comes after what is given back.
		b.unheard()
		b.line.set(func() { b.line.lose = 0 })
		sessions, _ := b.join(1)
		if got := b.line.numbers(); !slices.Equal(got, []room.Number{1, sessions[0].place.Number}) {
			b.Errorf("got %v waiting, want the first and the newcomer %d", got, sessions[0].place.Number)
		}
	})
}

// While the line is away a room has one batch to give back at most: nobody joins
// behind it.
func TestOneBatchToGiveBackPerRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(1)
		b.unheard()
		b.line.set(func() { b.line.away = true })
		joins := b.line.count("join")
		for range 3 {
			if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrAway) {
				b.Errorf("got %v, want away", err)
			}
		}
		if got := b.line.count("join"); got != joins {
			b.Errorf("got %d more tries to join, want none before the batch is given back", got-joins)
		}
	})
}

// A node that ends gives back what it was joining.
func TestTheEndGivesBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(1)
		b.line.set(func() { b.line.lose = 1 << 30 })
		done := make(chan error, 1)
		go func() {
			_, err := b.hub.Join(b.Context(), show, &fakeSink{})
			done <- err
		}()
		b.pass(time.Second)
		b.line.set(func() { b.line.lose = 0 })
		b.hub.end() // the visitor hears no answer any more
		b.end()
		<-done
		if got := b.line.numbers(); !slices.Equal(got, []room.Number{1}) {
			b.Errorf("got %v waiting after the end, want nobody unheard", got)
		}
	})
}
