package hub

import (
	"slices"
	"testing"

	"waitroom/internal/wire"
)

// ends are the reasons of the ends that somebody heard.
func ends(heard []message) (reasons []string) {
	for _, m := range heard {
		if m.Type == wire.Spent {
			reasons = append(reasons, m.Reason)
		}
	}
	return reasons
}

// Whose place was given up because nobody saw him hears why: who comes back to it, who
// was connected all the same, and who claims it.
func TestAPlaceGivenUpIsSpentForBeingAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(3)
		b.pass(2 * PositionTick)
		sessions[2].Detach(sinks[2])
		for _, s := range sessions {
			b.line.reap(s.place)
		}
		b.pass(2 * PositionTick)
		back := &fakeSink{}
		s, err := b.hub.Return(b.Context(), show, sessions[2].epoch, sessions[2].place, back)
		if err != nil || !s.Over() {
			b.Fatalf("comes back: got %+v, %v, want a session that is over", s, err)
		}
		for i, sink := range []*fakeSink{sinks[0], sinks[1], back} {
			if got := ends(sink.take()); !slices.Equal(got, []string{"away"}) {
				b.Errorf("visitor %d: got spent for %q, want away once", i, got)
			}
		}
	})
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1)
		b.pass(2 * PositionTick)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		b.line.set(func() { clear(b.line.pending) })
		b.line.reap(sessions[0].place)
		if err := sessions[0].Claim(b.Context()); err != nil {
			b.Fatal(err)
		}
		if got := ends(sinks[0].take()); !slices.Equal(got, []string{"away"}) {
			b.Errorf("who claims: got spent for %q, want away", got)
		}
	})
}
