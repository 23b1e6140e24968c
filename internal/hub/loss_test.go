package hub

import (
	"errors"
	"slices"
	"testing"
	"time"

	"waitroom/internal/room"
)

// One place that the line lost is an answer to that place. Who joins, who comes back
// beside it and whose turn it is hear what they would have heard without it.
func TestOneLostPlaceHoldsUpNobody(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.fences = false })
		sessions, sinks := b.join(5)
		b.pass(PositionTick)
		answers := make(chan error, 2)
		go func() { // in one batch
			_, err := b.hub.Return(b.Context(), show, sessions[0].epoch, room.Place{Visitor: room.NewVisitorID(), Number: 60}, &fakeSink{})
			answers <- err
		}()
		if _, err := b.hub.Return(b.Context(), show, sessions[1].epoch, sessions[1].place, &fakeSink{}); err != nil {
			b.Errorf("a place beside the lost one: got %v, want it let in", err)
		}
		if err := <-answers; !errors.Is(err, room.ErrRecovering) {
			b.Errorf("the lost place: got %v, want recovering", err)
		}
		start := time.Now()
		if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); err != nil || time.Since(start) > 100*time.Millisecond {
			b.Errorf("a newcomer: got %v after %s, want a number at once", err, time.Since(start))
		}
		b.line.admit(5)
		b.pass(2*TurnTick + TurnTick/2)
		for i, s := range sinks {
			if got := types(s.take()); !slices.Contains(got, "admitted") || slices.Contains(got, "room recovering") {
				b.Errorf("visitor %d: got %v, want its turn", i, got)
			}
		}
	})
}

// A line below the node's mark goes on admitting for an admitter that never saw the
// lost numbers. Whom the line knows hears of the turn, the others hear nothing.
func TestTurnsAreToldBelowTheMark(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(10)
		b.pass(PositionTick + PositionTick/2)
		b.line.set(func() {
			b.line.seq, b.line.queue = 6, b.line.queue[:6]
		})
		b.line.admit(6)
		b.pass(2 * TurnTick)
		for i, s := range sinks {
			got := types(s.take())
			if told := slices.Contains(got, "admitted"); told != (i < 6) || slices.Contains(got, "spent") {
				b.Errorf("number %d of a line that lost all above 6: got %v", i+1, got)
			}
		}
	})
}

// While the line collects what its callers saw, joins wait for it, on one lane and as
// one batch; who comes back with a place does not wait behind them.
func TestJoinsWaitWhileTheLineRecovers(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, _ := b.join(1)
		b.line.set(func() { b.line.denied = room.ErrRecovering })
		start := time.Now()
		joined := make(chan error, 1)
		go func() {
			_, err := b.hub.Join(b.Context(), show, &fakeSink{})
			joined <- err
		}()
		b.pass(time.Second)
		if _, err := b.hub.Return(b.Context(), show, sessions[0].epoch, sessions[0].place, &fakeSink{}); err != nil || time.Since(start) > 1100*time.Millisecond {
			b.Errorf("a return meanwhile: got %v after %s, want it answered at once", err, time.Since(start)-time.Second)
		}
		b.pass(2*time.Second - time.Since(start))
		b.line.set(func() { b.line.denied = nil })
		if err := <-joined; err != nil || time.Since(start) > 3*time.Second {
			b.Errorf("got %v after %s, want a number once the line has recovered", err, time.Since(start))
		}
		for _, lane := range b.line.joins[1:] {
			if lane != b.line.joins[1] {
				b.Errorf("got batch %+v after %+v, want the same asked again", lane, b.line.joins[1])
			}
		}
		// It recovers for longer than anybody waits: that is the answer, and the lane
		// stays, since no try of it took effect.
		b.line.set(func() { b.line.denied = room.ErrRecovering })
		start = time.Now()
		_, err := b.hub.Join(b.Context(), show, &fakeSink{})
		if took := time.Since(start); !errors.Is(err, room.ErrRecovering) || took < Patience-time.Second || took > Patience+time.Second {
			b.Errorf("got %v after %s, want recovering after %s", err, took, Patience)
		}
		if first, last := b.line.joins[0], b.line.joins[len(b.line.joins)-1]; last.Name != first.Name {
			b.Errorf("got lane %s, want %s still", last.Name, first.Name)
		}
	})
}

// Who is here and whom the line lost is told nothing, and asked for once a second in
// batches, until the line has brought everybody back to their number.
func TestLostPlacesAreBroughtBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		const n, kept = 2300, 600
		_, sinks := b.join(n)
		b.pass(3 * PositionTick)
		for _, s := range sinks {
			s.take()
		}
		b.line.set(func() { b.line.seq, b.line.queue, b.line.fences = kept, b.line.queue[:kept:kept], false })
		b.pass(4 * PositionTick)
		tries := b.line.count("rejoin")
		b.line.set(func() { b.line.fences = true })
		if tries < 3 || tries > 5 {
			b.Errorf("got %d tries in 4 s of a line that refuses, want one a second", tries)
		}
		b.pass(8 * PositionTick) // who was never lost hears nothing new until the beat
		for i, s := range sinks {
			heard := s.take()
			last := heard[len(heard)-1]
			if last.Position != room.Position(i+1) || slices.Contains(types(heard), "spent") {
				b.Fatalf("number %d: got %v, the last %+v, want position %d", i+1, types(heard), last, i+1)
			}
		}
		calls := (n - kept + maxBringBack - 1) / maxBringBack
		if len(b.line.rejoin) != calls || slices.Max(b.line.rejoin) > maxBringBack {
			b.Errorf("got calls of %v places, want %d of at most %d", b.line.rejoin, calls, maxBringBack)
		}
		b.line.admit(n)
		b.pass(5 * TurnTick)
		for i, s := range sinks {
			if got := types(s.take()); !slices.Contains(got, "admitted") {
				b.Fatalf("number %d: got %v, want its turn", i+1, got)
			}
		}
		b.pass(3 * PositionTick)
		if got := b.line.count("rejoin") - tries; got != calls {
			b.Errorf("got %d calls, want none once everybody is back", got-calls)
		}
	})
}

// The line lost an admission together with the number, gives later ones, and no read tells
// of it: who claims it hears that the line recovers and is brought back now, not at the end
// of the time for it. The metrics tell both.
func TestALostAdmissionIsBroughtBackByItsClaim(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(3)
		b.line.admit(1)
		b.pass(3 * TurnTick)
		b.line.set(func() {
			b.line.back[1] = true
			delete(b.line.pending, sessions[0].place.Visitor)
		})
		b.pass(5 * PositionTick)
		if n := b.line.count("rejoin"); n != 0 {
			b.Fatalf("before the claim: got %d calls, want a loss that nobody saw", n)
		}
		sinks[0].take()
		if err := sessions[0].Claim(b.Context()); !errors.Is(err, room.ErrRecovering) {
			b.Errorf("claim: got %v, want %v", err, room.ErrRecovering)
		}
		unseen := func() float64 {
			return metric(b, newPresence(b.hub.Signs, b.hub.lost), "waitroom_places_unseen")
		}
		if got := unseen(); got != 1 {
			b.Errorf("waitroom_places_unseen: got %v, want 1", got)
		}
		b.pass(2 * PositionTick)
		if got := types(sinks[0].take()); !slices.Contains(got, "position") {
			b.Errorf("after the claim: got %v, want the place back in line", got)
		}
		if got := metric(b, b.hub.metrics.returned, "waitroom_places_returned_total"); got != 1 {
			b.Errorf("waitroom_places_returned_total: got %v, want 1", got)
		}
		if got := unseen(); got != 0 {
			b.Errorf("waitroom_places_unseen: got %v, want 0", got)
		}
		b.line.admit(1)
		b.pass(3 * TurnTick)
		if err := sessions[0].Claim(b.Context()); err != nil || !slices.Contains(types(sinks[0].take()), "pass") {
			b.Errorf("the turn that came again: got %v, want a pass", err)
		}
	})
}

// A room that left the registry is lost, whether others did or not, until a tombstone
// says that somebody deleted it: who is here stays and hears recovering.
func TestOnlyATombstoneEndsARoom(t *testing.T) {
	for _, others := range [][]room.Name{nil, {"other"}} {
		inBubble(t, func(b *bench) {
			b.line.others = others
			_, sinks := b.join(2)
			b.pass(2 * PositionTick)
			sinks[1].take()
			b.line.set(func() { b.line.listed = false })
			b.pass(20 * PositionTick)
			if got := types(sinks[1].take()); len(got) < 3 || len(got) > 6 || slices.ContainsFunc(got, func(s string) bool { return s != "room recovering" }) {
				b.Errorf("beside %v: got %v, want recovering with each beat", others, got)
			}
			if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrRecovering) {
				b.Errorf("a newcomer: got %v, want recovering", err)
			}
			if b.hub.Watch(show, &fakeSink{}) == nil {
				b.Error("who was refused is not shown how the room stands")
			}
			b.line.set(func() { b.line.listed = true })
			b.pass(6 * PositionTick)
			heard := sinks[1].take()
			if got := types(heard); !slices.Contains(got, "room open") || got[len(got)-1] != "position" || heard[len(heard)-1].Position != 2 {
				b.Errorf("once it is back: got %+v, want open and position 2", heard)
			}
			b.line.delete()
			b.pass(2 * PositionTick)
			if got := types(sinks[1].take()); !slices.Contains(got, "error room_deleted") || got[len(got)-1] != "close 4501" {
				b.Errorf("with a tombstone: got %v, want room_deleted", got)
			}
		})
	}
}

// A registry that is lost alone leaves a line that admits: its turns are told.
func TestTurnsOfALostRegistry(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(2)
		b.pass(2 * PositionTick)
		b.line.set(func() { b.line.unlisted = true })
		b.pass(3 * PositionTick)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		if got := types(sinks[0].take()); !slices.Contains(got, "room recovering") || got[len(got)-1] != "admitted" {
			b.Errorf("got %v, want recovering, and then the turn", got)
		}
	})
}

// A place proves that there was such a room: a node that has never seen it listed
// says recovering, and deleted once it has found the tombstone.
func TestAPlaceOfARoomNeverListed(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.listed, b.line.others = false, []room.Name{"other"} })
		b.pass(2 * PositionTick)
		back := func() error {
			_, err := b.hub.Return(b.Context(), show, "aaaaaaaa", room.Place{Visitor: room.NewVisitorID(), Number: 1}, &fakeSink{})
			return err
		}
		if err := back(); err != nil && !errors.Is(err, room.ErrRecovering) {
			b.Errorf("got %v, want recovering", err)
		}
		if _, err := b.hub.Join(b.Context(), "stranger", &fakeSink{}); !errors.Is(err, room.ErrUnknown) {
			b.Errorf("a stranger's word: got %v, want unknown", err)
		}
		b.line.delete()
		b.pass(2 * PositionTick)
		if err := back(); !errors.Is(err, room.ErrDeleted) {
			b.Errorf("with a tombstone: got %v, want deleted", err)
		}
	})
}

// A line that asks what its processes heard of it gets this node's mark within a second,
// from a room at rest as well; a line that has not noticed its loss is told.
func TestTheMarkIsReported(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(7)
		b.pass(4 * moves)
		if got := b.line.count("report"); got > 0 {
			b.Errorf("got %d reports that nobody asked for", got)
		}
		b.line.set(func() { b.line.life.Asking = true; b.line.conf.Rev++ })
		b.pass(PositionTick + TurnTick)
		// By the tick that the change brings, and perhaps by one of the room's own phase.
		if got := b.line.reported; len(got) < 1 || len(got) > 2 || slices.ContainsFunc(got, func(n room.Number) bool { return n != 7 }) {
			b.Errorf("got marks %v, want 7 once or twice", got)
		}
		b.line.set(func() { b.line.life.Asking = false })
		b.pass(4 * PositionTick)
		if got := len(b.line.reported); got > 3 {
			b.Errorf("got %d reports, want none once nobody asks", got)
		}
	})
	inBubble(t, func(b *bench) {
		b.join(7)
		b.pass(4 * moves)
		b.line.set(func() { b.line.seq, b.line.queue, b.line.fences = 3, b.line.queue[:3:3], true })
		b.pass(2 * PositionTick)
		if got := b.line.numbers(); len(got) != 7 {
			b.Errorf("got %v waiting, want the four that were lost among them", got)
		}
	})
}

// A line that Redis lost whole is brought back as this node remembers it, once, and who
// is here stays and hears of it; so is an operator's act that the line lost.
func TestALostLineIsBroughtBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.State, b.line.conf.Rev = room.Paused, 7 })
		_, sinks := b.join(3)
		b.pass(PositionTick + PositionTick/2)
		b.line.set(func() { b.line.whole = true })
		b.pass(3 * PositionTick)
		b.line.set(func() {
			if len(b.line.recreated) != 1 || b.line.recreated[0].Conf["state"] != "paused" || b.line.recreated[0].Epoch() != b.line.conf.Epoch {
				b.Errorf("got %v, want the line brought back once, paused", b.line.recreated)
			}
			b.line.conf.State, b.line.conf.Rev, b.line.rev = room.Open, 6, b.line.rev+1 // the pause is lost
		})
		b.pass(35 * PositionTick) // a quiet room is read again by then
		b.line.set(func() {
			if b.line.conf.State != room.Paused || len(b.line.recreated) != 2 {
				b.Errorf("got %s after %d times, want the pause brought back, once", b.line.conf.State, len(b.line.recreated)-1)
			}
		})
		for i, s := range sinks {
			if got := types(s.take()); slices.Contains(got, "spent") || slices.Contains(got, "room open") {
				b.Errorf("visitor %d: got %v, want neither spent nor an open room", i, got)
			}
		}
	})
}

// While tombstones are looked for the registry that was read before grows older: a room
// that was found since, by somebody who came to it, is not called lost for that.
func TestARoomFoundWhileTombstonesAreLookedFor(t *testing.T) {
	inBubbleOver(t, Config{}, func(f *fakeLine) followed { return slowStones{f} }, func(b *bench) {
		b.line.set(func() { b.line.unlisted, b.line.others = true, []room.Name{"other", "gone"} })
		b.pass(2 * PositionTick)
		b.line.set(func() { b.line.others = []room.Name{"other"} })
		b.pass(PositionTick - PositionTick/20)
		for looks := b.line.count("rooms"); b.line.count("rooms") == looks; { // the next look has begun
			b.pass(PositionTick / 20)
		}
		b.line.set(func() { b.line.unlisted = false })
		b.pass(PositionTick / 4)
		_, sinks := b.join(1)
		b.pass(2 * PositionTick)
		if got := types(sinks[0].take()); slices.Contains(got, "room recovering") {
			b.Errorf("got %v, want a room that is listed", got)
		}
	})
}
