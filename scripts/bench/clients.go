package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"waitroom/internal/room"
)

// dialers is how many connections one process of clients opens at the same time: with
// a quarter of it a seventh of the processors stood idle.
const dialers = 256

// What clients do once they have connected.
const (
	toJoin    = "join"
	toUpgrade = "upgrade" // and nothing more: the floor of a join
)

// Crowded is what clients say once all have joined.
type Crowded struct {
	Joined   int
	BeganUS  int64   // of the first dial, since 1970
	JoinedUS int64   // of the last joined
	CPUUS    float64 // of this process, until then
}

// Told is a visitor who heard `admitted`.
type Told struct {
	Number room.Number
	AtUS   int64
}

// clients are visitors on bare sockets: they join, then read for ever. A library
// would be right for a visitor, but here it would cost the machine more than the
// server does.
type clients struct {
	address, room, what string
	source              int
	heard               ear

	positions atomic.Int64
	mu        sync.Mutex
	told      []Told
	lost      error
	silent    []*os.File // those who only upgrade
}

// playClients: address, room, how many, the last byte of the source address, how
// many a second (0: as fast as it goes), what they do.
func playClients(ctx context.Context, args []string) error {
	if len(args) != 6 {
		return errors.New("want address, room, count, source, rate, what")
	}
	count, err1 := strconv.Atoi(args[2])
	source, err2 := strconv.Atoi(args[3])
	rate, err3 := strconv.Atoi(args[4])
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	c := &clients{address: args[0], room: args[1], source: source, what: args[5]}
	began := time.Now()
	all, dialing := errgroup.WithContext(ctx)
	all.SetLimit(dialers)
	for i := range count {
		if rate > 0 {
			if err := pause(dialing, time.Until(began.Add(time.Duration(i)*time.Second/time.Duration(rate)))); err != nil {
				break // the group says why
			}
		}
		all.Go(func() error { return c.come(dialing) })
	}
	if err := all.Wait(); err != nil {
		return say(struct{ Failed string }{err.Error()})
	}
	crowded := Crowded{Joined: count, BeganUS: began.UnixMicro(), JoinedUS: time.Now().UnixMicro()}
	var err error
	if crowded.CPUUS, err = processor(); err != nil {
		return err
	}
	if err := say(crowded); err != nil {
		return err
	}
	return answer(map[string]func(string) (any, error){
		"told": func(string) (any, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			told := c.told
			c.told = nil
			return told, c.lost
		},
		"positions": func(string) (any, error) { return c.positions.Load(), nil },
		"listen":    func(string) (any, error) { c.heard.open(); return true, nil },
		"heard":     func(string) (any, error) { return c.heard.close(), nil },
	})
}

// come opens a connection and does what was asked. A visitor who joins returns when
// `joined` is here; the goroutine that goes on reading ends with the process.
func (c *clients) come(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err() // another one failed
	}
	conn, err := dial(c.address, c.source)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, handshake(c.address, c.room, "")); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, maxFrame)
	if err := readUpgrade(in); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if c.what == toUpgrade {
		c.mu.Lock()
		c.silent = append(c.silent, conn)
		c.mu.Unlock()
		return nil
	}
	if _, err := conn.Write(frame(final|opText, `{"type":"join"}`)); err != nil {
		return err
	}
	for {
		_, payload, err := readFrame(in)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(payload, []byte(`{"type":"joined"`)) {
			continue
		}
		_, number, ok := bytes.Cut(payload, []byte(`"number":`))
		if !ok {
			return fmt.Errorf("joined without a number: %s", payload)
		}
		go c.read(in, room.Number(leading(number)))
		return nil
	}
}

func (c *clients) read(in *bufio.Reader, number room.Number) {
	one := c.heard.listener()
	for {
		_, payload, err := readFrame(in)
		switch {
		case err != nil:
			c.heard.lose(one)
			c.mu.Lock()
			c.lost = fmt.Errorf("a connection was lost: %w", err)
			c.mu.Unlock()
			return
		case bytes.HasPrefix(payload, []byte(positionHead)):
			c.positions.Add(1)
			c.heard.position(one, number, payload, time.Now().UnixMicro())
		case bytes.HasPrefix(payload, []byte(`{"type":"admitted"`)):
			at := time.Now().UnixMicro()
			c.mu.Lock()
			c.told = append(c.told, Told{number, at})
			c.mu.Unlock()
		}
	}
}
