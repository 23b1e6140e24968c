package main

import (
	"context"
	"fmt"
	"time"
)

// arrivals is how many visitors a second come to a node where its memory is the
// question: as fast as crowds come, and slow enough that the joins themselves do not
// pile up.
const arrivals = 1_000

// measureMemory: what a connected visitor costs a node's process in resident memory,
// over the empty process, as a crowd leaves it that came at a steady rate: nothing
// makes the collector run. Clients are in other processes; the line stands still.
func measureMemory(ctx context.Context, b *bench) error {
	for _, n := range []int{b.scale(10_000), b.scale(16_000)} {
		f := Figure{Name: fmt.Sprintf("process memory per connected visitor at %s, no forced collection", count(int64(n))),
			Aim: "≤ 4 KB", Unit: "KB", Met: atMost(4)}
		var total, heap, stacks, settled, collector, gogc []float64
		for range min(3, b.runs()) {
			err := with(ctx, b, func(g *ground, s *stand) error {
				// Without what its start left behind, which would be taken off the visitors.
				empty, err := s.usage("settle")
				if err != nil {
					return err
				}
				if _, err := s.fill(ctx, g, n, arrivals); err != nil {
					return err
				}
				if err := pause(ctx, b.span(5*time.Second)); err != nil { // some ticks
					return err
				}
				full, err := s.usage("usage")
				if err != nil {
					return err
				}
				after, err := s.usage("settle")
				if err != nil {
					return err
				}
				grown, each := full.since(empty), float64(n)*1000
				f.Runs = append(f.Runs, grown.RSS/each)
				total = append(total, full.RSS/1e6)
				heap, stacks = append(heap, grown.Heap/each), append(stacks, grown.Stacks/each)
				settled = append(settled, after.since(empty).RSS/each)
				collector = append(collector, 100*grown.GCUS/grown.CPUUS)
				gogc = append(gogc, full.GOGC)
				return nil
			}, roomFor(n))
			if err != nil {
				return err
			}
		}
		f.Note = fmt.Sprintf("(RSS − RSS of the empty process) ÷ connections, arriving at %s/s and joined; KB is 1,000 bytes; heap %s, stacks %s; the whole process %s MB; GOGC %.0f, the collector took %s %% of the node's processor time; after a forced collection %s KB",
			count(arrivals), number(median(heap)), number(median(stacks)), number(median(total)), median(gogc), number(median(collector)), number(median(settled)))
		b.report(f)
	}
	return nil
}
