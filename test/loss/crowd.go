package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// perCrowd is how many visitors one process plays: half of the files it may open,
// since one that comes back has for a moment two.
const perCrowd = 9_000

// Order is what a process of visitors is told at its start.
type Order struct {
	Nodes, Shops []string
	Room         string
	Source       int // last byte of the address it comes from, 127.0.0.x
	Visitors     int
	Joins        float64 // a second
	NoShow       float64
	Seed         uint64
	File         string // written at the end: a Person per line
}

// Counts is where a crowd stands.
type Counts struct {
	Came     int // have arrived
	Placed   int // have been told a place
	Passed   int // have a pass
	Ended    int
	Stirring int // words heard that move somebody on: joined, admitted, pass and the words that end a place
}

func (c Counts) plus(o Counts) Counts {
	return Counts{c.Came + o.Came, c.Placed + o.Placed, c.Passed + o.Passed, c.Ended + o.Ended, c.Stirring + o.Stirring}
}

// Farewell is the last answer of a crowd.
type Farewell struct {
	PositionUS int64 // of the first position told at or after the moment asked for, to 10 ms; 0: none
	Pace       Pace
}

// crowd is the other end: one process of visitors, asked by a line on its standard
// input, which answers with a line of JSON.
type crowd struct {
	file string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// startCrowd ends with its standard input, so it cannot outlive this process.
func startCrowd(ctx context.Context, order Order) (*crowd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "--role", "crowd")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &crowd{order.File, cmd, in, bufio.NewReader(out)}
	return c, json.NewEncoder(in).Encode(order)
}

func (c *crowd) ask(question string, reply any) error {
	if _, err := fmt.Fprintln(c.in, question); err != nil {
		return fmt.Errorf("a crowd: %w", err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a crowd: %w", err)
	}
	return json.Unmarshal(line, reply)
}

func (c *crowd) end() {
	c.in.Close()
	_ = c.cmd.Wait() // what it had to say it has said
}

// crowds are all visitors of a run.
type crowds []*crowd

func (h *harness) gather(ctx context.Context, g *ground) (crowds, error) {
	n := (h.size.visitors() + perCrowd - 1) / perCrowd
	var all crowds
	for i := range n {
		c, err := startCrowd(ctx, Order{
			Nodes: g.nodes, Shops: g.shops, Room: g.room, Source: 10 + i,
			Visitors: h.size.visitors()/n + btoi(i < h.size.visitors()%n), Joins: float64(h.size.Joins) / float64(n),
			NoShow: 1 - h.size.Shop, Seed: uint64(i + 1), File: g.path(fmt.Sprint("visitors-", i+1, ".jsonl")),
		})
		if err != nil {
			all.end()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (all crowds) end() {
	for _, c := range all {
		c.end()
	}
}

func (all crowds) counts() (sum Counts, err error) {
	for _, c := range all {
		var one Counts
		if err := c.ask("count", &one); err != nil {
			return sum, err
		}
		sum = sum.plus(one)
	}
	return sum, nil
}

// comeBack has those who have a pass in hand show their place once more, and tells
// how many they are.
func (all crowds) comeBack() (sum int, err error) {
	for _, c := range all {
		var n int
		if err := c.ask("return", &n); err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// farewell ends every visit and collects what everybody was told, and how the slowest
// crowd kept up.
func (all crowds) farewell(ctx context.Context, upUS int64) (persons []Person, positionUS int64, pace Pace, err error) {
	replies := make([]Farewell, len(all))
	var asked errgroup.Group
	for i, c := range all {
		asked.Go(func() error { return c.ask(fmt.Sprint("end ", upUS), &replies[i]) })
	}
	if err := asked.Wait(); err != nil {
		return nil, 0, pace, err
	}
	for i, c := range all {
		if at := replies[i].PositionUS; at > 0 && (positionUS == 0 || at < positionUS) {
			positionUS = at
		}
		pace = pace.worse(replies[i].Pace)
		some, err := readPersons(c.file)
		if err != nil {
			return nil, 0, pace, err
		}
		persons = append(persons, some...)
	}
	return persons, positionUS, pace, ctx.Err()
}

func readPersons(name string) (persons []Person, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for d := json.NewDecoder(bufio.NewReader(file)); ; {
		var p Person
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return persons, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		persons = append(persons, p)
	}
}

// settle waits until every visit has ended, or nothing moves any more, or time is
// up; still tells that nothing moved.
func (all crowds) settle(ctx context.Context, size Size) (still bool, err error) {
	tick := time.NewTicker(250 * time.Millisecond) // a count costs a crowd some µs
	defer tick.Stop()
	began := time.Now()
	last, moved := Counts{}, began
	for {
		now, err := all.counts()
		if err != nil {
			return false, err
		}
		if now != last {
			last, moved = now, time.Now()
		}
		switch {
		case now.Ended == size.visitors():
			return true, nil
		case time.Since(moved) > size.Quiet:
			return true, nil
		case time.Since(began) > size.Within:
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
	}
}

// mayFrighten are the words that nobody here gives cause for: all claim at once,
// nobody leaves, and there are seats for everybody.
var mayFrighten = []string{"spent", "missed", "left", "place_malformed", "place_foreign", "place_other_room", "place_other_epoch",
	"unknown_room", "room_deleted", "bad_room", "room_closed", "sold_out"}

func frightens(word string) bool { return slices.Contains(mayFrighten, word) }
