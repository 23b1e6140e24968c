package hub

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/internal/room"
)

func overRegistry(f *fakeLine) followed { return registryLine{f} }

// A registry that lost its rooms while their lines are there is written again by the nodes
// that remember them, also for a room that everybody has left: whoever waits hears so, and
// newcomers get a place. It is tried at a bounded rate, and not for a room that is deleted.
func TestALostRegistryComesBack(t *testing.T) {
	inBubbleOver(t, Config{}, overRegistry, func(b *bench) {
		_, sinks := b.join(2)
		b.pass(2 * PositionTick)
		b.line.set(func() { b.line.unlisted, b.line.others = true, []room.Name{"other"} })
		b.pass(relistEvery)
		if got := types(sinks[0].take()); !slices.Contains(got, "room recovering") {
			b.Errorf("got %v, want recovering at first", got)
		}
		b.pass(3 * PositionTick)
		if got := types(sinks[0].take()); len(got) == 0 || !slices.Contains(got, "room open") {
			b.Errorf("got %v, want the room open again", got)
		}
		b.join(1)
		if got := b.line.count("recreate"); got != 1 {
			b.Errorf("got %d calls, want one", got)
		}
	})
	inBubbleOver(t, Config{}, overRegistry, func(b *bench) {
		sessions, sinks := b.join(1)
		b.pass(2 * PositionTick)
		sessions[0].Detach(sinks[0])
		b.line.set(func() { b.line.unlisted = true })
		b.pass(relistEvery + 3*PositionTick)
		b.line.set(func() {
			if b.line.unlisted {
				b.Error("a room that everybody has left is lost for good")
			}
			b.line.unlisted = true
		})
		before := b.line.count("recreate")
		b.pass(relistEvery + 3*PositionTick)
		if got := b.line.count("recreate") - before; got != 1 {
			b.Errorf("lost once more: got %d calls, want one", got)
		}
	})
	inBubbleOver(t, Config{}, func(f *fakeLine) followed { return deafToRecreate{f} }, func(b *bench) {
		b.join(2)
		b.pass(2 * PositionTick)
		b.line.set(func() { b.line.unlisted = true })
		b.pass(time.Minute)
		most := int(time.Minute / relistEvery)
		if got := b.line.count("recreate"); got < most-2 || got > most {
			b.Errorf("got %d calls in a minute of a line that does not answer them, want one each %s", got, relistEvery)
		}
	})
	inBubbleOver(t, Config{}, overRegistry, func(b *bench) {
		_, sinks := b.join(1)
		b.pass(2 * PositionTick)
		b.line.delete()
		b.pass(2 * PositionTick)
		if got := types(sinks[0].take()); !slices.Contains(got, "error room_deleted") {
			b.Errorf("got %v, want that it was deleted", got)
		}
		before := b.line.count("recreate")
		b.pass(3 * relistEvery)
		if got := b.line.count("recreate") - before; got > 0 {
			b.Errorf("got %d calls for a room that is known to be deleted, want none", got)
		}
	})
}

// A line that was lost is told its event by nodes that remember it, also where everybody has
// left the room and nobody reads it.
func TestTheEventComesBackWhereNobodyIs(t *testing.T) {
	var losses atomic.Int64
	over := func(f *fakeLine) followed {
		return lossLine{eventLine{registryLine{f}, room.Event{Rev: 3, Title: "Gala"}}, &losses}
	}
	inBubbleOver(t, Config{}, over, func(b *bench) {
		sessions, sinks := b.join(1)
		b.pass(3 * PositionTick)
		sessions[0].Detach(sinks[0])
		b.pass(3 * PositionTick)
		losses.Add(1)
		b.pass(20 * PositionTick)
		b.line.set(func() {
			if len(b.line.recreated) != 1 || b.line.recreated[0].Event.Title != "Gala" {
				b.Errorf("got %+v, want the event told once", b.line.recreated)
			}
		})
	})
}

// What the sale is for comes back with a line that was lost whole, also when somebody who
// does not know it was the first to bring the line back.
func TestTheEventComesBack(t *testing.T) {
	event := room.Event{Rev: 3, Title: "Gala"}
	over := func(f *fakeLine) followed { return eventLine{registryLine{f}, event} }
	inBubbleOver(t, Config{}, over, func(b *bench) {
		b.join(2)
		b.pass(3 * PositionTick)
		b.line.set(func() { b.line.whole = true })
		b.pass(3 * PositionTick)
		b.line.set(func() {
			if len(b.line.recreated) != 1 || b.line.recreated[0].Event.Title != event.Title || b.line.recreated[0].Event.Rev != event.Rev {
				b.Errorf("got %+v, want the line brought back with its event", b.line.recreated)
			}
			b.line.recreated = nil
		})
		b.pass(3 * PositionTick)
		b.line.set(func() {
			if len(b.line.recreated) != 0 {
				b.Errorf("the first life that is known: got %+v, want nothing told", b.line.recreated)
			}
			b.line.life, b.line.conf.Rev = room.Life{ID: "c"}, b.line.conf.Rev+1
		})
		b.pass(20 * PositionTick)
		b.line.set(func() {
			if len(b.line.recreated) != 1 || b.line.recreated[0].Event.Title != event.Title {
				b.Errorf("in another life: got %+v, want the event told once", b.line.recreated)
			}
			b.line.conf.Epoch = "bbbbbbbb" // made anew, by an operator
			b.line.life, b.line.recreated = room.Life{ID: "d"}, nil
		})
		b.pass(20 * PositionTick)
		b.line.set(func() {
			if len(b.line.recreated) != 0 {
				b.Errorf("another line of that name: got %+v, want nothing of the one before", b.line.recreated)
			}
		})
	})
}
