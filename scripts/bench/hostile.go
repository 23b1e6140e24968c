package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// honest is how many visitors stand in the line beside the attackers.
const honest = 2_000

// hostileColumns is the head of the table of hostile peers.
const hostileColumns = "hostile peers | what each does | acts sent | lateness p99 (max) before → during | node's processor before → during | processors idle before → during | RSS grew by | what became of them | honest lost"

// measureHostile: what hostile peers cost honest visitors of the same node. The
// visitors wait in a line that moves, so each is told once a second; lateness is by how
// much the time between two positions of one visitor was longer than that. What shifts
// all later frames is late once, what leaves a tick out is late by a second.
//
// The attackers are in a room of their own. A sweep is spread over its tick by the
// number of those in the room, so whoever leaves one, hostile or not, moves everybody's
// turn in it: 1,000 of 3,000 by up to 0.3 s, once, which nobody notices and which would
// hide everything else.
func measureHostile(ctx context.Context, b *bench) error {
	var failed []error
	for _, k := range kinds {
		if !slices.Contains(b.kinds, k.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: hostile %s (load %s)\n", k.name, load())
		if err := hostileRow(ctx, b, k); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", k.name, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(failed...)
}

func hostileRow(ctx context.Context, b *bench, k kind) error {
	before, during := b.span(10*time.Second), b.span(k.during)
	theirs, err := open(ctx, b, nil)
	if err != nil {
		return err
	}
	defer theirs.close()
	return with(ctx, b, func(g *ground, s *stand) error {
		// In front of the visitors, so that each moves at every tick; twice the time, as
		// a machine under attack takes longer.
		ahead := 2 * rate * int((before + during + 5*time.Second).Seconds())
		if err := g.join(ctx, crowd(ahead), joinBatch); err != nil {
			return err
		}
		n := b.scale(honest)
		if _, err := s.fill(ctx, g, n, arrivals); err != nil {
			return err
		}
		return g.moving(ctx, func() error {
			if err := pause(ctx, 3*time.Second); err != nil { // the line moves, the node has seen it
				return err
			}
			calm, err := s.listen(ctx, before)
			if err != nil {
				return err
			}
			o := order{Kind: k.name, Address: s.address, Room: string(theirs.name), Count: b.scale(k.count)}
			// They end by themselves, whatever becomes of this process.
			o.Within = (during + time.Minute).String()
			if err := s.node.ask("places "+o.Room, &o.Places); err != nil {
				return err
			}
			attackers, err := spawn(ctx, "raid")
			if err != nil {
				return err
			}
			defer attackers.end()
			words, err := json.Marshal(o)
			if err != nil {
				return err
			}
			var ready bool
			if err := attackers.ask(string(words), &ready); err != nil {
				return err
			}
			storm, err := s.listen(ctx, during)
			if err != nil {
				return err
			}
			var t Toll
			if err := attackers.ask("stop", &t); err != nil {
				return err
			}
			late := func(st Stretch) string {
				return fmt.Sprintf("%s (%s)", number(quantile(st.late(), 0.99)), number(quantile(st.late(), 1)))
			}
			b.table.print(hostileColumns, cells(count(int64(o.Count))+" "+k.title, k.does,
				count(int64(float64(t.Acts)/t.Seconds))+" /s",
				late(calm)+" → "+late(storm)+" ms",
				fmt.Sprintf("%s → %s %% of a core", number(calm.perSecond()), number(storm.perSecond())),
				fmt.Sprintf("%.0f → %.0f %%", calm.Idle, storm.Idle),
				number((storm.Peak-calm.Began.RSS-calm.RSS)/1e6)+" MB",
				t.String(), fmt.Sprint(calm.Lost+storm.Lost)))
			return nil
		})
	})
}

// String is the toll in words: how many connections were opened, how they ended, how
// many are still there.
func (t Toll) String() string {
	words := []string{fmt.Sprintf("%s opened", count(t.Opened))}
	for _, end := range slices.Sorted(maps.Keys(t.Ends)) {
		words = append(words, fmt.Sprintf("%s %s", count(t.Ends[end]), end))
	}
	return strings.Join(append(words, fmt.Sprintf("%s open at the end", count(t.Open))), ", ")
}
