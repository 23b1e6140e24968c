package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"waitroom/internal/cadence"
)

// heldColumns is the head of the table of visitors held.
const heldColumns = "visitors held by one node, the line moving at 200/s | in front of them | cadence | frames told | node's processor | memory of each | age of a position, p99 / max | silence, p99 / max | connections lost | processors idle | load average"

// measureHeld: what a crowd costs a node while its line moves. The age of a position
// is the time from the first frame of the same read of the line to its own: a sweep
// that fits its tick tells everybody within 0.9 s, evenly. Silence is the time between
// two positions of one visitor.
func measureHeld(ctx context.Context, b *bench) error {
	var failed []error
	held := func(n int, mode cadence.Mode, front int) {
		if ctx.Err() != nil {
			return
		}
		if err := heldBy(ctx, b, n, mode, front); err != nil {
			failed = append(failed, fmt.Errorf("%d by %s: %w", n, mode, err))
		}
	}
	for _, n := range []int{b.scale(5_000), b.scale(10_000), b.scale(16_000)} {
		held(n, cadence.Exact, 0)
		held(n, cadence.Auto, 0)
	}
	// At 200/s who has 24,000 in front is near, and hears each second whatever the
	// cadence. So what it spares shows only far behind, where most of a long line is.
	held(b.scale(16_000), cadence.Exact, b.scale(100_000))
	held(b.scale(16_000), cadence.Near, b.scale(100_000))
	return errors.Join(append(failed, ctx.Err())...)
}

// heldBy measures n visitors with so many in front of them, at least as many as leave
// meanwhile.
func heldBy(ctx context.Context, b *bench, n int, mode cadence.Mode, front int) error {
	// The steps of a cadence take seconds to be taken; then what is measured.
	settling, measured := b.span(20*time.Second), b.span(20*time.Second)
	return with(ctx, b, func(g *ground, s *stand) error {
		// In front of those here, so that each of them moves at every tick: for the
		// time that follows and as much again, since a machine under load takes it.
		ahead := max(front, 2*rate*int((settling+measured).Seconds()))
		if err := g.join(ctx, crowd(ahead), joinBatch); err != nil {
			return err
		}
		// Without what its start left behind, which would be taken off the visitors.
		empty, err := s.usage("settle")
		if err != nil {
			return err
		}
		if _, err := s.fill(ctx, g, n, arrivals); err != nil {
			return err
		}
		return g.moving(ctx, func() error {
			if err := pause(ctx, settling); err != nil {
				return err
			}
			st, err := s.listen(ctx, measured)
			if err != nil {
				return err
			}
			ages, silences := st.ages(), st.silences()
			b.table.print(heldColumns, cells(count(int64(n)), count(int64(ahead)), string(mode),
				number(st.Sent/(float64(st.AtUS)/1e6))+" /s",
				number(st.perSecond())+" % of a core",
				number((st.Peak-empty.RSS)/float64(n)/1000)+" KB",
				fmt.Sprintf("%s / %s ms", number(quantile(ages, 0.99)), number(quantile(ages, 1))),
				fmt.Sprintf("%s / %s ms", number(quantile(silences, 0.99)), number(quantile(silences, 1))),
				fmt.Sprint(st.Lost), fmt.Sprintf("%.0f %%", st.Idle), load()))
			return nil
		})
	}, "--cadence="+string(mode), roomFor(n))
}
