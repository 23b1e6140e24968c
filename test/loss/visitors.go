package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"waitroom/internal/bot"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// What a page does, in bots' words: its first wait is below 4 s, and the longest
// below 30 s.
const (
	pageFirst = 4 * time.Second
	pageMost  = 30 * time.Second
)

// Positions are told to thousands a second; of when, only this much is kept.
const (
	bucket  = 10 * time.Millisecond
	buckets = 100 * 60 * 30 // half an hour, longer than any run
)

// mostBack is how many of a process come back with a pass in hand: they come beside
// those who still wait, and a process may open 20,000 files.
const mostBack = 2_000

// visitors are the bots of one process.
type visitors struct {
	order Order
	http  *http.Client
	began time.Time
	all   sync.WaitGroup
	stop  context.CancelFunc // ends every visit

	watch watch        // until the visits end
	late  atomic.Int64 // ns by which the last one came later than planned

	came, placed, passed, ended, stirring atomic.Int64
	told                                  []atomic.Uint32 // positions, by buckets since began

	mu      sync.Mutex
	persons []*one // in order of arrival
}

// one is a visitor. Its fields are owned by the bot's goroutine until done is
// closed; then by who asks.
type one struct {
	person Person
	place  string // kept, to come back with
	done   chan struct{}
	back   chan struct{} // closed when the second visit is over; nil: there is none
}

// playCrowd is the role: an order, then questions, until standard input ends.
func playCrowd(ctx context.Context) error {
	in := bufio.NewReader(os.Stdin)
	var order Order
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, &order); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	v := newVisitors(order, stop)
	v.all.Go(func() { v.arrive(ctx) })    // ends with its visitors' number or ctx; end waits
	v.all.Go(func() { v.watch.run(ctx) }) // until ctx ends
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil // whoever asked is gone, and so is this process
		}
		word, about, _ := strings.Cut(strings.TrimSpace(line), " ")
		var reply any
		switch word {
		case "count":
			reply = Counts{int(v.came.Load()), int(v.placed.Load()), int(v.passed.Load()), int(v.ended.Load()), int(v.stirring.Load())}
		case "return":
			reply = v.comeBack(ctx)
		case "end":
			var up int64
			if _, err := fmt.Sscan(about, &up); err != nil {
				return err
			}
			if reply, err = v.end(up); err != nil {
				return err
			}
		default:
			return fmt.Errorf("no answer to %q", line)
		}
		if err := json.NewEncoder(os.Stdout).Encode(reply); err != nil {
			return err
		}
	}
}

func newVisitors(order Order, stop context.CancelFunc) *visitors {
	// An address of its own: 28,000 ports towards each node.
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(order.Source))}, KeepAlive: -1}
	return &visitors{order: order, began: time.Now(), stop: stop, told: make([]atomic.Uint32, buckets),
		http: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}}}
}

// arrive starts the visitors one after another, evenly, and catches up where it was
// late.
func (v *visitors) arrive(ctx context.Context) {
	every := time.Duration(float64(time.Second) / v.order.Joins)
	seeds := rand.New(rand.NewPCG(v.order.Seed, 1))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range v.order.Visitors {
		if wait := time.Until(v.began.Add(time.Duration(i) * every)); wait > time.Millisecond {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		if ctx.Err() != nil {
			return
		}
		o := &one{done: make(chan struct{})}
		v.mu.Lock()
		v.persons = append(v.persons, o)
		v.mu.Unlock()
		v.came.Add(1)
		v.late.Store(int64(max(0, time.Since(v.began.Add(time.Duration(i)*every)))))
		random := rand.New(rand.NewPCG(seeds.Uint64(), seeds.Uint64()))
		// Ends with the visit, which ends with ctx; all waits.
		v.all.Go(func() {
			defer close(o.done)
			config := v.config(random)
			config.Hear = func(h bot.Heard) { v.hear(o, h) }
			out := bot.Run(ctx, config)
			o.person.End = string(out.End)
			if out.Err != nil {
				o.person.Err = reason(out.Err)
			}
			v.ended.Add(1)
		})
	}
}

// reason is an error without what differs from visitor to visitor.
func reason(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "stopped"
	default:
		text := err.Error()
		return text[:min(len(text), 120)]
	}
}

func (v *visitors) config(random *rand.Rand) bot.Config {
	return bot.Config{Nodes: v.order.Nodes, Shops: v.order.Shops, Room: room.Name(v.order.Room), Rand: random, HTTP: v.http,
		BackoffMin: pageFirst, BackoffMax: pageMost, Plan: bot.Plan{NoShow: v.order.NoShow}}
}

// hear writes down what a visitor was told.
func (v *visitors) hear(o *one, h bot.Heard) {
	now := time.Now()
	at := now.UnixMicro()
	stays := &o.person.Stays
	if h.Type == wire.Joined {
		if n := len(*stays); n == 0 || (*stays)[n-1].Visitor != string(h.Stay.Visitor) {
			*stays = append(*stays, Stay{Visitor: string(h.Stay.Visitor), Epoch: string(h.Stay.Epoch), Number: int64(h.Stay.Number), JoinedUS: at})
			if n == 0 {
				v.placed.Add(1)
			}
			v.stirring.Add(1)
		}
	}
	if h.Place != "" {
		o.place = h.Place
	}
	word := string(h.Type)
	if h.Type == wire.Error {
		word = string(h.Code)
	}
	if frightens(word) {
		v.stirring.Add(1)
		if !slices.Contains(o.person.Frights, word) {
			o.person.Frights = append(o.person.Frights, word)
		}
	}
	if len(*stays) == 0 {
		return
	}
	s := &(*stays)[len(*stays)-1]
	s.Moves = h.Stay.Moves
	switch h.Type {
	case wire.Position:
		s.Position, s.PositionUS = int64(h.Stay.Last), at
		v.tell(now)
	case wire.Admitted:
		v.stirring.Add(1)
		if s.AdmitUS == 0 {
			s.AdmitUS = at
		}
	case wire.Pass:
		v.stirring.Add(1)
		v.passed.Add(1)
		s.PassUS, s.Admission = at, h.Stay.Admission
	default:
		if frightens(word) && s.Gone == "" && s.PassUS == 0 {
			s.Gone = word
		}
	}
}

func (v *visitors) tell(now time.Time) {
	if i := int(now.Sub(v.began) / bucket); i < len(v.told) {
		v.told[i].Add(1)
	}
}

// comeBack has those with a pass in hand open the waiting page again: it shows the
// place that it kept, and hears where that stands.
func (v *visitors) comeBack(ctx context.Context) (n int) {
	v.mu.Lock()
	persons := v.persons
	v.mu.Unlock()
	random := rand.New(rand.NewPCG(v.order.Seed, 2))
	for _, o := range persons {
		select {
		case <-o.done:
		default:
			continue
		}
		if n == mostBack || len(o.person.Stays) == 0 || o.person.Stays[len(o.person.Stays)-1].PassUS == 0 {
			continue
		}
		n++
		o.back = make(chan struct{})
		config := v.config(rand.New(rand.NewPCG(random.Uint64(), random.Uint64())))
		config.Place = o.place
		config.Plan.NoShow, config.Plan.Joins = 1, 1
		visit, over := context.WithCancel(ctx)
		config.Hear = func(h bot.Heard) {
			s := &o.person.Stays[len(o.person.Stays)-1]
			word := string(h.Type)
			switch h.Type {
			case wire.Error:
				if !frightens(string(h.Code)) {
					return
				}
				word = string(h.Code)
			case wire.Joined:
				if h.Stay.Number != room.Number(s.Number) || string(h.Stay.Visitor) != s.Visitor {
					s.Moves++
				}
				return
			case wire.Pass:
				if h.Stay.Admission != s.Admission {
					word = "another pass"
					s.Moves++
				}
			case wire.Room, wire.Drain:
				return
			}
			if s.BackUS == 0 {
				s.BackUS = time.Now().UnixMicro()
			}
			s.BackAs = word // the last word: most wait, are admitted, and have the pass again
			if h.Type != wire.Position && h.Type != wire.Admitted {
				over()
			}
		}
		// Ends with the pass or with ctx; all waits.
		v.all.Go(func() {
			defer close(o.back)
			defer over()
			bot.Run(visit, config)
		})
	}
	return n
}

// end ends every visit and writes down what was told.
func (v *visitors) end(up int64) (Farewell, error) {
	v.stop()
	v.all.Wait()
	file, err := os.Create(v.order.File)
	if err != nil {
		return Farewell{}, err
	}
	w := bufio.NewWriter(file)
	lines := json.NewEncoder(w)
	for _, o := range v.persons {
		err = errors.Join(err, lines.Encode(o.person))
	}
	if err := errors.Join(err, w.Flush(), file.Close()); err != nil {
		return Farewell{}, err
	}
	f := Farewell{Pace: Pace{Late: time.Duration(v.late.Load()), Still: v.watch.longest()}}
	first := int((time.UnixMicro(up).Sub(v.began) + bucket - 1) / bucket)
	for i := max(0, first); i < len(v.told); i++ {
		if v.told[i].Load() > 0 {
			f.PositionUS = v.began.Add(time.Duration(i) * bucket).UnixMicro()
			break
		}
	}
	return f, nil
}
