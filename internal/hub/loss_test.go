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
