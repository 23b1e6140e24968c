package main

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/admission"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/room"
)

const rate = 200 // admissions per second in all that follows

// benchTopic takes the place of waitroom.admitted, which a booker may be reading.
const benchTopic = "waitroom.bench"

// publisher is where a relay publishes to.
type publisher interface {
	Publish(context.Context, []events.Record) error
}

// ledger keeps the admissions that a relay published, with the moment at which
// its publisher had them all.
type ledger struct {
	next publisher // nil: nowhere

	mu       sync.Mutex
	admitted map[room.Number]entry // the first publish counts: a repeat is absorbed
}

type entry struct{ admittedUS, ackedUS int64 }

func (l *ledger) Publish(ctx context.Context, records []events.Record) error {
	if len(records) > 0 && records[0].Topic == events.TopicRooms {
		return nil // what the bench's room is for is nobody's to read
	}
	if l.next != nil {
		own := slices.Clone(records)
		for i := range own {
			own[i].Topic = benchTopic
		}
		if err := l.next.Publish(ctx, own); err != nil {
			return err
		}
	}
	now := time.Now().UnixMicro()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.admitted == nil {
		l.admitted = map[room.Number]entry{}
	}
	for _, r := range records {
		a, err := events.DecodeAdmitted(r.Headers, r.Value)
		if err != nil {
			return err
		}
		if _, repeated := l.admitted[a.Number]; !repeated {
			l.admitted[a.Number] = entry{a.AdmittedAtUS, now}
		}
	}
	return nil
}

// add takes what another process has published.
func (l *ledger) add(stamps []stamp) {
	now := time.Now().UnixMicro()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.admitted == nil {
		l.admitted = map[room.Number]entry{}
	}
	for _, s := range stamps {
		if _, repeated := l.admitted[room.Number(s[0])]; !repeated {
			l.admitted[room.Number(s[0])] = entry{s[1], now}
		}
	}
}

// count is how many admissions were published.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.admitted)
}

// admitters runs n replicas over the room until do returns.
func admitters(ctx context.Context, b *bench, g *ground, n int, l *ledger, do func() error) error {
	return serveRooms(ctx, b, n, []string{string(g.name)}, l, do)
}

// serveRooms runs n replicas over the rooms named, or all of the registry, until do
// returns. Each has its own client of Redis, as processes have.
func serveRooms(ctx context.Context, b *bench, n int, rooms []string, p publisher, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	var all errgroup.Group
	for range n {
		rdb, err := client(b.redis)
		if err != nil {
			cancel()
			return err
		}
		defer rdb.Close()
		config := admission.Config{Rooms: rooms, Process: "bench-" + crand.Text()}
		service, err := admission.New(config, "bench", line.New(rdb), p, zap.NewNop(), prometheus.NewRegistry())
		if err != nil {
			cancel()
			return err
		}
		all.Go(func() error { return service.Run(ctx) })
	}
	err := do()
	cancel()
	if end := all.Wait(); err == nil {
		err = end
	}
	return err
}

func steady(c *room.Conf) {
	c.Rate = rate * 1000
	c.Burst = c.Rate.MinBurst()
}

// measureTold: from the line's time of an admission to the visitor's process
// having read `admitted`, while everybody's position moves at each tick. All on
// one machine, so both times are of one clock.
func measureTold(ctx context.Context, b *bench) error {
	n := b.scale(10_000)
	seconds := time.Duration(b.scale(200)) * time.Second / 10
	f := Figure{Name: "removed from the queue → visitor told, p99", Aim: "≤ 250 ms", Unit: "ms", Met: atMost(250)}
	var notes []string
	for range min(3, b.runs()) {
		g, err := open(ctx, b, func(c *room.Conf) { steady(c); c.State = room.Paused })
		if err != nil {
			return err
		}
		err = func() error {
			defer g.close()
			s, err := newStand(ctx, b)
			if err != nil {
				return err
			}
			defer s.end()
			if _, err := s.fill(ctx, g, n, 0); err != nil {
				return err
			}
			if err := pause(ctx, 3*time.Second); err != nil {
				return err
			}
			state := room.Open
			if _, err := g.lines.Set(ctx, g.name, room.Change{Actor: "bench", State: &state}); err != nil {
				return err
			}
			l := &ledger{}
			if err := admitters(ctx, b, g, 1, l, func() error { return pause(ctx, seconds) }); err != nil {
				return err
			}
			if err := pause(ctx, 2*time.Second); err != nil { // the last are told
				return err
			}
			h := hdrhistogram.New(1, 60_000_000, 3) // µs
			for _, c := range s.clients {
				var told []Told
				if err := c.ask("told", &told); err != nil {
					return err
				}
				for _, t := range told {
					e, ok := l.admitted[t.Number]
					if !ok {
						return fmt.Errorf("number %d was told and is in no outbox", t.Number)
					}
					if err := h.RecordValue(max(1, t.AtUS-e.admittedUS)); err != nil {
						return err
					}
				}
			}
			if int(h.TotalCount()) != len(l.admitted) || len(l.admitted) == 0 {
				return fmt.Errorf("%d of %d admitted were told", h.TotalCount(), len(l.admitted))
			}
			f.Runs = append(f.Runs, float64(h.ValueAtQuantile(99))/1000)
			notes = append(notes, fmt.Sprintf("%s/%s", number(float64(h.ValueAtQuantile(50))/1000), number(float64(h.Max())/1000)))
			return nil
		}()
		if err != nil {
			return err
		}
	}
	f.Note = fmt.Sprintf("%s waiting, %d/s for %s a run; p50/max in ms: %s", number(float64(n)), rate, seconds, strings.Join(notes, ", "))
	b.report(f)
	return nil
}

// measureRelay: from the line's time of an admission to Kafka's acknowledgement
// by all in-sync replicas. The floor is a bare publish of one record.
func measureRelay(ctx context.Context, b *bench) error {
	if b.kafka == "" {
		return fmt.Errorf("WAITROOM_TEST_KAFKA is not set")
	}
	brokers := strings.Split(b.kafka, ",")
	if err := kafkaio.EnsureTopics(ctx, brokers, 1, benchTopic); err != nil {
		return err
	}
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: brokers, ClientID: "bench"})
	defer writer.Close()
	seconds := time.Duration(b.scale(200)) * time.Second / 10
	f := Figure{Name: "admitted → Kafka acknowledged, acks=all, p99", Aim: "≤ 25 ms", Unit: "ms", Met: atMost(25)}
	var notes []string
	for range min(3, b.runs()) {
		l := &ledger{next: writer}
		if err := atRate(ctx, b, steady, 1, l, time.Second+seconds); err != nil {
			return err
		}
		h := hdrhistogram.New(1, 60_000_000, 3)
		first := l.first() + 1e6 // the first second opens connections
		for _, e := range l.admitted {
			if e.admittedUS < first {
				continue
			}
			if err := h.RecordValue(max(1, e.ackedUS-e.admittedUS)); err != nil {
				return err
			}
		}
		f.Runs = append(f.Runs, float64(h.ValueAtQuantile(99))/1000)
		notes = append(notes, fmt.Sprintf("%s/%s", number(float64(h.ValueAtQuantile(50))/1000), number(float64(h.Max())/1000)))

		bare := hdrhistogram.New(1, 60_000_000, 3)
		for i := range b.scale(1000) {
			record := events.EncodeAdmitted("bench", room.Admitted{Visitor: room.NewVisitorID(), Number: room.Number(i + 1), At: time.Now(), Epoch: room.NewEpoch()})
			record.Topic = benchTopic
			start := time.Now()
			if err := writer.Publish(ctx, []events.Record{record}); err != nil {
				return err
			}
			if err := bare.RecordValue(max(1, time.Since(start).Microseconds())); err != nil {
				return err
			}
		}
		f.Floor = append(f.Floor, float64(bare.ValueAtQuantile(99))/1000)
	}
	f.Note = fmt.Sprintf("%d/s for %s a run, one broker; p50/max in ms: %s; floor: p99 of publishing one record", rate, seconds, strings.Join(notes, ", "))
	b.report(f)
	return nil
}

// atRate admits at the rate for some time, with everybody waiting before.
func atRate(ctx context.Context, b *bench, conf func(*room.Conf), replicas int, l *ledger, d time.Duration) error {
	g, err := open(ctx, b, conf)
	if err != nil {
		return err
	}
	defer g.close()
	if err := g.join(ctx, crowd(int(d.Seconds()+5)*rate), joinBatch); err != nil {
		return err
	}
	return admitters(ctx, b, g, replicas, l, func() error { return pause(ctx, d) })
}

func (l *ledger) first() int64 {
	first := int64(math.MaxInt64)
	for _, e := range l.admitted {
		first = min(first, e.admittedUS)
	}
	return first
}

// paces are the rates at which measurePace looks: a slow sale, whose rounds admit one
// at a time, the usual one, and one near what a room needs at most.
var paces = []int{50, 200, 5000}

// measurePace: how far the count of admissions over any 10 s is from the rate, with
// three admitters, processes of which one is killed halfway. The burst is a tenth of a
// second's worth, and two at least: what makes up for a machine that runs nobody for so
// long.
func measurePace(ctx context.Context, b *bench) error {
	for _, perSecond := range paces {
		if err := paceOf(ctx, b, perSecond); err != nil {
			return err
		}
	}
	return nil
}

func paceOf(ctx context.Context, b *bench, perSecond int) error {
	d, window := 40*time.Second, int64(10_000_000)
	if b.part > 1 {
		d, window = 6*time.Second, 1_000_000
	}
	burst := max(2, int64(perSecond)/10)
	want := float64(perSecond) * float64(window) / 1e6
	round := max(1, float64(perSecond)/100) // of 10 ms
	aim := round + 0.001*want
	f := Figure{Name: fmt.Sprintf("error of the admitted count over any %d s of %s at %s/s, three admitters, one killed halfway, burst %d",
		window/1e6, d, number(float64(perSecond)), burst),
		Aim: fmt.Sprintf("≤ %s (a round of %s + 0.1 %%)", number(aim), number(round)), Unit: "visitors", Met: atMost(aim)}
	var notes []string
	for range min(2, b.runs()) {
		l := &ledger{}
		if err := paced(ctx, b, perSecond, burst, l, d+2*time.Second); err != nil {
			return err
		}
		var at []int64
		for _, e := range l.admitted {
			at = append(at, e.admittedUS)
		}
		slices.Sort(at)
		// The first second has the replicas' start in it, and the burst.
		begin := at[0] + 1e6
		f.Runs = append(f.Runs, windows(at, begin, begin+d.Microseconds(), window, want))
		notes = append(notes, fmt.Sprintf("%s in %.2f s, the longest gap %s ms", number(float64(len(at))), float64(at[len(at)-1]-at[0])/1e6, number(longest(at)/1e3)))
	}
	f.Note = fmt.Sprintf("%s expected in a window; admitted in each run: %s", number(want), strings.Join(notes, "; "))
	b.report(f)
	return nil
}

// paced admits at a rate for some time, with everybody waiting before. Of its three
// replicas one is killed halfway; it returns when all that was admitted is published,
// also what the dead one had taken.
func paced(ctx context.Context, b *bench, perSecond int, burst int64, l *ledger, d time.Duration) error {
	g, err := open(ctx, b, func(c *room.Conf) { c.Rate, c.Burst = room.Rate(perSecond)*1000, burst })
	if err != nil {
		return err
	}
	defer g.close()
	if err := g.join(ctx, crowd(int(d.Seconds()+5)*perSecond), joinBatch); err != nil {
		return err
	}
	var all []*replica
	defer func() {
		for _, r := range all {
			_ = r.stop(false) // the error that ended it is told already
		}
	}()
	for range 3 {
		r, err := replicate(ctx, b, g, l)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if err := pause(ctx, d/2); err != nil {
		return err
	}
	dead := all[0]
	all = all[1:]
	if err := dead.stop(true); err != nil {
		return err
	}
	if err := pause(ctx, d/2); err != nil {
		return err
	}
	if _, err := g.lines.Set(ctx, g.name, room.Change{Actor: "bench", Pause: true}); err != nil {
		return err
	}
	for range 60 {
		status, err := g.lines.Status(ctx, g.name)
		if err != nil {
			return err
		}
		if int(status.Stats.Admitted) == l.count() {
			return nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d published a minute after the pause, want all that were admitted", l.count())
}

// longest is the longest time between two admissions, in µs: while it lasts nobody
// ran, and what is longer than the burst's worth is lost.
func longest(at []int64) (gap float64) {
	for i := 1; i < len(at); i++ {
		gap = max(gap, float64(at[i]-at[i-1]))
	}
	return gap
}

// windows is the worst error of any window that lies between begin and end. They
// are looked at where the count changes: at each admission and right behind it.
func windows(at []int64, begin, end, window int64, want float64) (worst float64) {
	count := func(from, to int64) int { // in [from, to)
		lo, _ := slices.BinarySearch(at, from)
		hi, _ := slices.BinarySearch(at, to)
		return hi - lo
	}
	for i, t := range at {
		if i > 0 && at[i-1] == t {
			continue
		}
		for _, from := range []int64{t, t + 1, t - window, t - window + 1} {
			if from >= begin && from+window <= end {
				worst = max(worst, math.Abs(float64(count(from, from+window))-want))
			}
		}
	}
	return worst
}
