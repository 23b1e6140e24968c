package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// dialers is how many connections one process of clients opens at the same time.
const dialers = 64

// Crowded is what clients say once all have joined.
type Crowded struct {
	Joined    int
	BeganUS   int64 // of the first dial, since 1970
	JoinedUS  int64 // of the last joined
	Positions int64
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
	address, host, path string
	source              net.IP

	positions atomic.Int64
	mu        sync.Mutex
	told      []Told
	lost      error
}

// playClients: address, room, how many, the last byte of the source address.
func playClients(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("want address, room, count, source")
	}
	count, err1 := strconv.Atoi(args[2])
	source, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	c := &clients{address: args[0], host: args[0], path: "/rooms/" + args[1] + "/ws", source: net.IPv4(127, 0, 0, byte(source))}
	crowded := Crowded{Joined: count, BeganUS: time.Now().UnixMicro()}
	all, dialing := errgroup.WithContext(ctx)
	all.SetLimit(dialers)
	for range count {
		all.Go(func() error { return c.join(dialing) })
	}
	if err := all.Wait(); err != nil {
		return say(struct{ Failed string }{err.Error()})
	}
	crowded.JoinedUS = time.Now().UnixMicro()
	if err := say(crowded); err != nil {
		return err
	}
	return answer(map[string]func() (any, error){
		"told": func() (any, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			told := c.told
			c.told = nil
			return told, c.lost
		},
		"positions": func() (any, error) { return c.positions.Load(), nil },
	})
}

// join opens a connection, sends join, and returns when `joined` is here. The
// goroutine that goes on reading ends with the process.
func (c *clients) join(ctx context.Context) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.source}, Timeout: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	request := "GET " + c.path + " HTTP/1.1\r\nHost: " + c.host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d2FpdHJvb20tYmVuY2gtMQ==\r\nSec-WebSocket-Protocol: " + wire.Subprotocol + "\r\n\r\n"
	// A masked text frame (RFC 6455, 5.2) whose mask is 0.
	text := `{"type":"join"}`
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 1024)
	status, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(status, " 101 ") {
		return fmt.Errorf("handshake: got %s, want 101", strings.TrimSpace(status))
	}
	for line := status; strings.TrimSpace(line) != ""; {
		if line, err = in.ReadString('\n'); err != nil {
			return err
		}
	}
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	for {
		payload, err := readFrame(in)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(payload, []byte(`{"type":"joined"`)) {
			continue
		}
		var joined wire.JoinedMessage
		if err := json.Unmarshal(payload, &joined); err != nil {
			return err
		}
		go c.read(in, joined.Number)
		return nil
	}
}

func (c *clients) read(in *bufio.Reader, number room.Number) {
	for {
		payload, err := readFrame(in)
		switch {
		case err != nil:
			c.mu.Lock()
			c.lost = fmt.Errorf("a connection was lost: %w", err)
			c.mu.Unlock()
			return
		case bytes.HasPrefix(payload, []byte(`{"type":"position"`)):
			c.positions.Add(1)
		case bytes.HasPrefix(payload, []byte(`{"type":"admitted"`)):
			at := time.Now().UnixMicro()
			c.mu.Lock()
			c.told = append(c.told, Told{number, at})
			c.mu.Unlock()
		}
	}
}

// readFrame returns the payload of the next frame, valid until the next call. A
// frame of the server is below 1 KiB: the place token is its greatest part.
func readFrame(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	size, skip := int(head[1]), 2
	if size == 126 {
		if head, err = in.Peek(4); err != nil {
			return nil, err
		}
		size, skip = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	whole, err := in.Peek(skip + size)
	if err != nil {
		return nil, err
	}
	_, err = in.Discard(skip + size)
	return whole[skip:], err
}
