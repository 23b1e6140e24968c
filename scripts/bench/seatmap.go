package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

const (
	mapSeats   = 20_000
	mapBytes   = 6 << 10 // the aim of a map as it is sent
	mapsPerSec = 4       // of a room: as often as a map may be new
	lookers    = 64
)

// measureSeatMap: the map of a big room, half of it taken at random: how many bytes it
// is on the wire, how many a second are read, and what a few maps a second cost those
// who buy meanwhile, so that each is new.
func measureSeatMap(ctx context.Context, b *bench) error {
	seats := b.scale(mapSeats)
	size := Figure{Name: fmt.Sprintf("bytes of the map of %s seats, half of them taken, as it is sent", count(int64(seats))),
		Aim: "≤ " + count(mapBytes), Unit: "bytes", Met: atMost(mapBytes)}
	plan := Figure{Name: "bytes of its plan, which a page loads once", Aim: "report", Unit: "bytes"}
	reads := EdgeFigure{what: toLook, Figure: Figure{Name: fmt.Sprintf("maps of %s seats read over HTTP, %d connections", count(int64(seats)), lookers), Aim: "report", Unit: "/s"}}
	beside := EdgeFigure{what: toConfirm, Figure: Figure{Name: fmt.Sprintf("confirms over HTTP beside %d maps a second", mapsPerSec),
		Aim: "≥ 0.9 of those without", Unit: "/s", Met: func(m, floor float64) bool { return m >= 0.9*floor }}}
	var p95 []string
	buyers := b.scale(2_400)
	err := onShop(ctx, b, func(g *shopGround) error {
		return b.repeat(func() error {
			return g.try(ctx, seats, buyers, true, func(t *trial) error {
				if err := g.takeHalf(ctx, t.list, seats); err != nil {
					return err
				}
				drawn, _, err := g.fetch(ctx, t, planPath)
				if err != nil {
					return err
				}
				plan.Runs = append(plan.Runs, float64(len(drawn)))
				body, zipped, err := g.fetch(ctx, t, mapPath)
				if err != nil {
					return err
				}
				size.Runs = append(size.Runs, float64(len(body)))
				size.Note = "compressed"
				if !zipped {
					size.Note = fmt.Sprintf("not compressed; gzip would make it %s", count(int64(zippedSize(body))))
				}
				look := Task{What: toLook, Count: 1_000_000, Connections: lookers, Span: b.span(stretch)} // more than are read in a stretch
				floor, err := g.bareReads(ctx, t.crowd, body, look)
				if err != nil {
					return err
				}
				d, cost, err := g.through(t.shop, t.crowd, look)
				if err != nil {
					return err
				}
				reads.Runs, reads.Floor = append(reads.Runs, float64(d.Whole)/(d.TookUS/1e6)), append(reads.Floor, floor)
				reads.deeds, reads.costs = append(reads.deeds, d), append(reads.costs, cost)

				without, _, err := g.through(t.shop, t.crowd, Task{What: toConfirm, Count: buyers / 2, Connections: lookers, Span: b.span(stretch)})
				if err != nil {
					return err
				}
				d, cost, err = g.besideMaps(ctx, b, t, Task{What: toConfirm, From: buyers / 2, Count: buyers / 2, Connections: lookers, Span: b.span(stretch)})
				if err != nil {
					return err
				}
				beside.Runs, beside.Floor = append(beside.Runs, float64(d.Whole)/(d.TookUS/1e6)), append(beside.Floor, float64(without.Whole)/(without.TookUS/1e6))
				beside.deeds, beside.costs = append(beside.deeds, d), append(beside.costs, cost)
				p95 = append(p95, number(without.Acts[toConfirm].P95)+" → "+number(d.Acts[toConfirm].P95))
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	reads.Note = "nothing changes meanwhile; floor: net/http sending the same bytes"
	beside.Note = fmt.Sprintf("%d connections; each confirm changes the map; p95 without → with, in ms: %s; floor: without maps, right before", lookers, strings.Join(p95, ", "))
	size.Note += "; load " + load()
	plan.Note = "compressed where it is worth it"
	b.report(size)
	b.report(plan)
	b.reportEdge(reads)
	b.reportEdge(beside)
	return nil
}

// takeHalf holds seats of the shoppers' room at random until half of it is taken.
func (g *shopGround) takeHalf(ctx context.Context, list []*shopper, seats int) error {
	name := list[0].pass.Room
	all, err := g.store.Seats(ctx, name)
	if err != nil {
		return err
	}
	var free []seat.ID
	for _, s := range all {
		if s.State == seat.Free {
			free = append(free, s.ID)
		}
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	const lot = 50 // as many as a hold has at most
	n := max(0, seats/2-len(list)) / lot
	takers, err := g.admit(ctx, name, free, n)
	if err != nil {
		return err
	}
	t := callers(ctx, 8, n, rowLimit, func(ctx context.Context, i int) error {
		_, _, err := g.store.Hold(ctx, takers[i].pass, free[i*lot:(i+1)*lot], time.Now())
		return err
	})
	return t.all(n)
}

// fetch reads the map, or its plan, as it is sent.
func (g *shopGround) fetch(ctx context.Context, t *trial, path func(room.Name) string) (body []byte, zipped bool, err error) {
	one := t.list[0]
	pass, err := g.keys.Pass(one.pass.Admission, one.pass.Expires)
	if err != nil {
		return nil, false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.shop.address+path(one.pass.Room), nil)
	if err != nil {
		return nil, false, err
	}
	r.Header.Set("Authorization", "Bearer "+pass)
	r.Header.Set("Accept-Encoding", "gzip") // said by hand, or the client would unpack it
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, false, errors.New("the map: " + answer.Status)
	}
	body, err = io.ReadAll(answer.Body)
	return body, answer.Header.Get("Content-Encoding") == "gzip", err
}

// mapPath is where the map of a room is, in the form that pages read.
func mapPath(name room.Name) string { return "/rooms/" + string(name) + "/seats?plan" }

// planPath is where the plan is, which a page loads once.
func planPath(name room.Name) string { return "/rooms/" + string(name) + "/plan" }

func zippedSize(body []byte) int {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // a buffer takes all
	_ = w.Close()
	return out.Len()
}

// bareReads is the floor: a server of net/http that sends the same bytes, in reads a
// second.
func (g *shopGround) bareReads(ctx context.Context, crowd *proc, body []byte, look Task) (float64, error) {
	file := filepath.Join(g.dir, "map")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		return 0, err
	}
	p, err := spawn(ctx, "file", file)
	if err != nil {
		return 0, err
	}
	defer p.end()
	if err := p.hear(&look.Address); err != nil {
		return 0, err
	}
	d, err := task(crowd, look)
	return float64(d.Whole) / (d.TookUS / 1e6), err
}

// playFile: a file, which it answers to every request.
func playFile(args []string) error {
	if len(args) != 1 {
		return errors.New("want a file")
	}
	body, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// It ends with the process, which ends with its input.
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	if err := say(l.Addr().String()); err != nil {
		return err
	}
	return answer(nil)
}

// besideMaps does a task while others read the map a few times a second, by the
// schedule.
func (g *shopGround) besideMaps(ctx context.Context, b *bench, t *trial, o Task) (d Deeds, cost edgeCost, err error) {
	other, err := g.send(ctx, t.list)
	if err != nil {
		return d, cost, err
	}
	defer other.end()
	var maps errgroup.Group
	maps.Go(func() error {
		n := max(1, int(mapsPerSec*o.Span.Seconds()))
		d, err := task(other, Task{Address: t.shop.address, What: toLook, Count: n, Connections: mapsPerSec, PerSecond: mapsPerSec, Span: o.Span})
		if err == nil && d.Acts[toLook].N < n {
			err = fmt.Errorf("%d of %d maps: %v", d.Acts[toLook].N, n, d.Others)
		}
		return err
	})
	d, cost, err = g.through(t.shop, t.crowd, o)
	return d, cost, errors.Join(err, maps.Wait())
}
