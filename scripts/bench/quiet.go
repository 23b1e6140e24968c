package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// book keeps when each visitor of any room was admitted, on the line's clock.
type book struct {
	mu       sync.Mutex
	admitted map[room.VisitorID]int64 // µs
	of       map[room.Name][]int64
}

func (b *book) Publish(_ context.Context, records []events.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range records {
		if r.Topic == events.TopicRooms {
			continue
		}
		a, err := events.DecodeAdmitted(r.Headers, r.Value)
		if err != nil {
			return err
		}
		if _, repeated := b.admitted[a.Visitor]; !repeated {
			b.admitted[a.Visitor] = a.AdmittedAtUS
			b.of[a.Room] = append(b.of[a.Room], a.AdmittedAtUS)
		}
	}
	return nil
}

// measureQuiet: as many rooms as a registry holds, three admitters over all of them,
// and one room that is busy. What they cost Redis; whether the busy room gets its
// rate; how long the first visitor of a quiet room waits.
func measureQuiet(ctx context.Context, b *bench) error {
	n := b.scale(room.MaxRooms)
	calm, sale := b.span(20*time.Second), b.span(30*time.Second)
	cpu := Figure{Name: fmt.Sprintf("Redis, of a core: %s quiet rooms, three admitters", number(float64(n))), Aim: "≤ 5 %", Unit: "%", Met: atMost(5)}
	short := Figure{Name: fmt.Sprintf("admissions short of %d/s in a busy room beside them, three admitters", rate), Aim: "within 0.5 %", Unit: "%", Met: atMost(0.5)}
	first := Figure{Name: "the first visitor of a quiet room: joined → admitted, p99", Aim: "≤ 100 ms", Unit: "ms", Met: atMost(100)}
	var calls, waits, counts []string
	for range min(2, b.runs()) {
		r, err := quietRun(ctx, b, n, calm, sale)
		if err != nil {
			return err
		}
		cpu.Runs, cpu.Floor = append(cpu.Runs, r.cpu), append(cpu.Floor, r.idle)
		short.Runs, first.Runs = append(short.Runs, r.short), append(first.Runs, float64(r.first.ValueAtQuantile(99))/1000)
		calls = append(calls, number(r.calls))
		waits = append(waits, fmt.Sprintf("%s/%s of %d", number(float64(r.first.ValueAtQuantile(50))/1000), number(float64(r.first.Max())/1000), r.first.TotalCount()))
		counts = append(counts, number(float64(r.admitted)))
	}
	cpu.Note = fmt.Sprintf("over %s; commands a second, those within scripts included, in each run: %s; floor: Redis with nobody connected", calm, joined(calls))
	short.Note = fmt.Sprintf("over %s; admitted in each run: %s", sale, joined(counts))
	first.Note = "marked after the join, as nodes do; p50/max in ms: " + joined(waits)
	b.report(cpu)
	b.report(short)
	b.report(first)
	return nil
}

func joined(list []string) string {
	text := ""
	for i, s := range list {
		if i > 0 {
			text += ", "
		}
		text += s
	}
	return text
}

type quietResult struct {
	cpu, idle, calls float64 // percent of a core, and commands a second
	short            float64 // percent
	admitted         int
	first            *hdrhistogram.Histogram // µs
}

func quietRun(ctx context.Context, b *bench, n int, calm, sale time.Duration) (r quietResult, err error) {
	busy, err := open(ctx, b, func(c *room.Conf) { steady(c); c.Burst = rate / 10; c.State = room.Paused })
	if err != nil {
		return r, err
	}
	defer busy.close()
	if err := busy.join(ctx, crowd(rate*int(sale.Seconds()+10)), joinBatch); err != nil {
		return r, err
	}
	var rooms []*ground
	defer func() {
		for _, g := range rooms {
			_ = g.lines.Delete(context.WithoutCancel(ctx), g.name, true, "bench")
		}
	}()
	for i := 1; i < n; i++ {
		g := &ground{rdb: busy.rdb, lines: busy.lines, epoch: room.NewEpoch(), name: room.Name(fmt.Sprintf("%s-%d", busy.name, i))}
		conf := room.DefaultConf()
		conf.Epoch, conf.State = g.epoch, room.Open
		if i%10 == 0 { // a crowd waits, and an operator has stopped the room
			conf.State = room.Paused
		}
		if err := g.lines.Create(ctx, g.name, conf, "bench"); err != nil {
			return r, err
		}
		rooms = append(rooms, g)
		if i%10 == 0 {
			if err := g.join(ctx, crowd(20), 20); err != nil {
				return r, err
			}
		}
	}
	if r.idle, _, err = redisShare(ctx, busy, 3*time.Second); err != nil {
		return r, err
	}
	books := &book{admitted: map[room.VisitorID]int64{}, of: map[room.Name][]int64{}}
	return r, serveRooms(ctx, b, 3, nil, books, func() error {
		if err := pause(ctx, 5*time.Second); err != nil { // they begin, and come to rest
			return err
		}
		if r.cpu, r.calls, err = redisShare(ctx, busy, calm); err != nil {
			return err
		}
		state := room.Open
		if _, err := busy.lines.Set(ctx, busy.name, room.Change{Actor: "bench", State: &state}); err != nil {
			return err
		}
		if err := pause(ctx, 3*time.Second); err != nil { // noticed within a second; its burst is gone
			return err
		}
		began := time.Now()
		when, err := firsts(ctx, rooms, sale)
		if err != nil {
			return err
		}
		ended := time.Now()
		if err := pause(ctx, 2*time.Second); err != nil { // the last of them
			return err
		}
		books.mu.Lock()
		defer books.mu.Unlock()
		at := slices.Sorted(slices.Values(books.of[busy.name]))
		lo, _ := slices.BinarySearch(at, began.UnixMicro())
		hi, _ := slices.BinarySearch(at, ended.UnixMicro())
		r.admitted = hi - lo
		want := rate * ended.Sub(began).Seconds()
		r.short = 100 * (want - float64(r.admitted)) / want
		r.first = hdrhistogram.New(1, 60_000_000, 3)
		for visitor, joined := range when {
			admitted, ok := books.admitted[visitor]
			if !ok {
				return fmt.Errorf("visitor %s was the first of a quiet room and is not admitted", visitor)
			}
			if err := r.first.RecordValue(max(1, admitted-joined)); err != nil {
				return err
			}
		}
		return nil
	})
}

// firsts joins one visitor to a room where nobody waits, ten times a second, and
// returns when each had joined.
func firsts(ctx context.Context, rooms []*ground, d time.Duration) (map[room.VisitorID]int64, error) {
	when := map[room.VisitorID]int64{}
	for end := time.Now().Add(d); time.Now().Before(end); {
		i := rand.IntN(len(rooms))
		if (i+1)%10 == 0 { // that one is paused
			continue
		}
		g, visitor := rooms[i], room.NewVisitorID()
		if err := g.join(ctx, []room.VisitorID{visitor}, 1); err != nil {
			return nil, err
		}
		when[visitor] = time.Now().UnixMicro()
		if err := g.lines.MarkBusy(ctx, g.name); err != nil {
			return nil, err
		}
		if err := pause(ctx, 80*time.Millisecond+rand.N(40*time.Millisecond)); err != nil {
			return nil, err
		}
	}
	return when, nil
}

// redisShare is Redis's processor time over d in percent of a core, and how many
// commands it ran a second, those within scripts included.
func redisShare(ctx context.Context, g *ground, d time.Duration) (percent, calls float64, err error) {
	read := func() (cpu, commands float64, err error) {
		info, err := g.rdb.Info(ctx, "cpu", "stats").Result()
		return infoNumber(info, "used_cpu_user") + infoNumber(info, "used_cpu_sys"), infoNumber(info, "total_commands_processed"), err
	}
	began := time.Now()
	cpu, commands, err := read()
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, 0, err
	}
	after, more, err := read()
	over := time.Since(began).Seconds()
	return 100 * (after - cpu) / over, (more - commands) / over, err
}
