package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/admission"
	"waitroom/internal/events"
	"waitroom/internal/line"
)

// A replica is an admitter in a process of its own, so that it can be killed. Its
// publisher is this program: what it has published it says in a line of JSON.

// stamp is one admission that was published: its number, and the line's time of it.
type stamp [2]int64

// told publishes to standard output. A line is one write, so a kill tears none.
type told struct{ out io.Writer }

func (t told) Publish(_ context.Context, records []events.Record) error {
	stamps := make([]stamp, 0, len(records))
	for _, r := range records {
		if r.Topic == events.TopicRooms {
			continue // what the bench's room is for is nobody's to read
		}
		a, err := events.DecodeAdmitted(r.Headers, r.Value)
		if err != nil {
			return err
		}
		stamps = append(stamps, stamp{int64(a.Number), a.AdmittedAtUS})
	}
	return json.NewEncoder(t.out).Encode(stamps)
}

// playReplica admits until its standard input ends.
func playReplica(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("want a Redis URL and a room")
	}
	rdb, err := client(args[0])
	if err != nil {
		return err
	}
	defer rdb.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the input, or the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	config := admission.Config{Rooms: args[1:], Process: "bench-" + crand.Text()}
	service, err := admission.New(config, "bench", line.New(rdb), told{os.Stdout}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	return service.Run(ctx)
}

// replica is one of them, as the bench sees it.
type replica struct {
	*proc
	heard chan error // of what it published; closed at the end of its output
}

// replicate starts one over a room; what it publishes goes into l.
func replicate(ctx context.Context, b *bench, g *ground, l *ledger) (*replica, error) {
	p, err := spawn(ctx, "replica", b.redis, string(g.name))
	if err != nil {
		return nil, err
	}
	r := &replica{p, make(chan error, 1)}
	go func() { // ends with the process's output
		defer close(r.heard)
		for {
			var stamps []stamp
			switch err := r.hear(&stamps); {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				r.heard <- err
				return
			}
			l.add(stamps)
		}
	}()
	return r, nil
}

// stop ends it, by kill -9 or in good order, and returns what went wrong before.
func (r *replica) stop(kill bool) error {
	if kill {
		if err := r.cmd.Process.Kill(); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
	}
	r.in.Close()
	err := <-r.heard
	_ = r.cmd.Wait() // after the last line: how it ended does not matter
	return err
}
