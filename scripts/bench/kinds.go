package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// kind is one kind of hostile peer: what its attackers do with one connection. They
// offer a fixed load rather than all that a socket takes: the latter would measure the
// attackers' machine, which here is the same. Whoever is cut comes back after `again`.
type kind struct {
	name   string
	title  string
	does   string // for the table: with its rate
	count  int
	during time.Duration
	// life is one connection, from the dial to its end. nil: it ended it itself.
	life func(context.Context, *attacker) error
}

const (
	many = 1_000
	// usual is time enough for what a server ends after 5 s, twice.
	usual = 15 * time.Second
)

// kinds in the order of the table.
var kinds = []kind{
	{"half", "half a handshake", "a third of a request, then silence", many, usual, halfHandshake},
	{"drip", "handshakes, a byte a second", "one byte of the request a second", many, usual, drippedHandshake},
	{"silent", "silent TCP connections", "nothing", 10_000, usual, silence},
	{"headers", "upgrades with 16 KB of headers", "joins, stays for 5 s, leaves", many, usual, bigHeaders},
	{"page", "`Connection: close` on the page", "a page on a connection of its own, a second later the next", many, usual, pageStorm},
	{"resets", "resets in the middle of a frame", "joins, sends half a message, resets, a second later again", many, usual, resets},
	{"crumbs", "messages, a byte a second", "joins, then a byte of one message a second", many, usual, drippedMessage},
	{"pings", "ping floods", "joins, then 100 pings a second, ten at a time", many, usual, floodOf(frame(final|opPing, "ping"))},
	{"fragments", "one-byte fragments", "joins, then 100 fragments a second of a message that never ends", many, usual, fragmentsOf("x")},
	{"empty", "empty fragments", "the same without the byte", many, usual, fragmentsOf("")},
	// It takes some 8 s until nothing more fits, and 15 s more until it is cut.
	{"deaf", "peers that never read", "asks for its place 4 times a second, reads nothing", many, 2 * usual, neverReads},
	{"churn", "joins and leaves", "join, leave, join, leave, 4 messages a second", many, usual, churn},
	{"stale", "places of an older line", "one of 500 signed places, a second after the answer again", many, usual, oldPlace},
	{"claims", "claims before the time", "joins, then 4 claims a second", many, usual, claims},
}

func kindNames() (list []string) {
	for _, k := range kinds {
		list = append(list, k.name)
	}
	return list
}

// within the allowance of a visitor, which is 5 messages a second.
const allowed = 250 * time.Millisecond

func halfHandshake(ctx context.Context, a *attacker) error {
	if err := a.dial(ctx, false); err != nil {
		return err
	}
	request := handshake(a.Address, a.Room, "")
	if err := a.send([]byte(request[:len(request)/3]), 1); err != nil {
		return err
	}
	return a.watch()
}

func drippedHandshake(ctx context.Context, a *attacker) error {
	if err := a.dial(ctx, false); err != nil {
		return err
	}
	request := handshake(a.Address, a.Room, "")
	return a.drip(ctx, time.Second, 1, func(i int) []byte { return []byte{request[i%len(request)]} }, a.watch)
}

func silence(ctx context.Context, a *attacker) error {
	if err := a.dial(ctx, false); err != nil {
		return err
	}
	return a.watch()
}

func bigHeaders(ctx context.Context, a *attacker) error {
	// With the rest of the request it stays below 16 KiB, above which it is refused.
	if err := a.enter(ctx, "X-Filler: "+strings.Repeat("x", 15_500)+"\r\n"); err != nil {
		return err
	}
	a.acts.Add(1)
	over := make(chan error, 1)
	go func() { over <- a.listen() }() // ends with the connection, below
	defer func() { a.conn.Close(); <-over }()
	select {
	case err := <-over:
		over <- err
		return err
	case <-time.After(5 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pageStorm(ctx context.Context, a *attacker) error {
	if err := a.dial(ctx, false); err != nil {
		return err
	}
	if err := a.send([]byte("GET /rooms/"+a.Room+" HTTP/1.1\r\nHost: "+a.Address+"\r\nConnection: close\r\n\r\n"), 1); err != nil {
		return err
	}
	answer, err := http.ReadResponse(a.in, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return refused("HTTP " + answer.Status)
	}
	return nil
}

func resets(ctx context.Context, a *attacker) error {
	if err := a.enter(ctx, ""); err != nil {
		return err
	}
	whole := frame(final|opText, strings.Repeat(" ", 100))
	if err := a.send(whole[:len(whole)/2], 1); err != nil {
		return err
	}
	if tcp, ok := a.conn.(*net.TCPConn); ok {
		return tcp.SetLinger(0) // a close without lingering is a reset
	}
	return nil
}

func drippedMessage(ctx context.Context, a *attacker) error {
	if err := a.enter(ctx, ""); err != nil {
		return err
	}
	message := frame(final|opText, strings.Repeat(" ", 240)) // a message may have 256
	return a.drip(ctx, time.Second, 1, func(i int) []byte { return []byte{message[i%len(message)]} }, a.listen)
}

// A flood is ten frames at a time, ten times a second: one write each.
const (
	handful = 10
	floods  = time.Second / 10
)

func floodOf(one []byte) func(context.Context, *attacker) error {
	ten := bytes.Repeat(one, handful)
	return func(ctx context.Context, a *attacker) error {
		if err := a.enter(ctx, ""); err != nil {
			return err
		}
		return a.drip(ctx, floods, handful, func(int) []byte { return ten }, a.listen)
	}
}

func fragmentsOf(text string) func(context.Context, *attacker) error {
	first := frame(opText, text)
	ten := bytes.Repeat(frame(opContinuation, text), handful)
	return func(ctx context.Context, a *attacker) error {
		if err := a.enter(ctx, ""); err != nil {
			return err
		}
		if err := a.send(first, 1); err != nil {
			return err
		}
		return a.drip(ctx, floods, handful, func(int) []byte { return ten }, a.listen)
	}
}

func neverReads(ctx context.Context, a *attacker) error {
	if err := a.dial(ctx, true); err != nil {
		return err
	}
	if err := a.send([]byte(handshake(a.Address, a.Room, "")), 1); err != nil {
		return err
	}
	join := frame(final|opText, joinWith(""))
	return a.drip(ctx, allowed, 1, func(int) []byte { return join }, nil)
}

func churn(ctx context.Context, a *attacker) error {
	if err := a.upgrade(ctx, ""); err != nil {
		return err
	}
	words := [][]byte{frame(final|opText, joinWith("")), frame(final|opText, `{"type":"leave"}`)}
	return a.drip(ctx, allowed, 1, func(i int) []byte { return words[i%2] }, a.listen)
}

func oldPlace(ctx context.Context, a *attacker) error {
	if err := a.upgrade(ctx, ""); err != nil {
		return err
	}
	if err := a.send(frame(final|opText, joinWith(a.Places[(a.index+a.dials)%len(a.Places)])), 1); err != nil {
		return err
	}
	return a.listen()
}

func claims(ctx context.Context, a *attacker) error {
	if err := a.enter(ctx, ""); err != nil {
		return err
	}
	claim := frame(final|opText, `{"type":"claim"}`)
	return a.drip(ctx, allowed, 1, func(int) []byte { return claim }, a.listen)
}
