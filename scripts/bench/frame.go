package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"waitroom/internal/wire"
)

// Opcodes and the bit of the last frame of a message (RFC 6455, 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	opPing         = 0x9
	final          = 0x80
)

// maxFrame bounds a frame of the server: its place token is the greatest part.
const maxFrame = 1024

// frame is a masked frame whose mask is 0, so that its payload can be read here.
func frame(head byte, payload string) []byte {
	b := []byte{head}
	if n := len(payload); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// handshake is the request of an upgrade. More headers may be given, each with its
// line end.
func handshake(host, room, more string) string {
	return "GET /rooms/" + room + "/ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d2FpdHJvb20tYmVuY2gtMQ==\r\nSec-WebSocket-Protocol: " + wire.Subprotocol + "\r\n" + more + "\r\n"
}

// readUpgrade reads the answer to a handshake. An answer other than 101 is a
// refused.
func readUpgrade(in *bufio.Reader) error {
	status, err := in.ReadSlice('\n') // valid until the next read; a line fits the buffer
	if err != nil {
		return err
	}
	if !bytes.Contains(status, []byte(" 101 ")) {
		return refused(status)
	}
	for line := status; len(bytes.TrimSpace(line)) > 0; {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
	}
	return nil
}

// refused is the status line of an answer that was not wanted.
type refused string

func (r refused) Error() string {
	if fields := strings.Fields(string(r)); len(fields) > 1 {
		return "HTTP " + fields[1]
	}
	return fmt.Sprintf("an answer that begins with %q", string(r))
}

// readFrame returns the opcode and the payload of the next frame. The payload is
// valid until the next call.
func readFrame(in *bufio.Reader) (op byte, payload []byte, err error) {
	head, err := in.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	op = head[0] & 0xf
	size, skip := int(head[1]), 2
	if size == 126 {
		if head, err = in.Peek(4); err != nil {
			return 0, nil, err
		}
		size, skip = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	whole, err := in.Peek(skip + size)
	if err != nil {
		return 0, nil, err
	}
	_, err = in.Discard(skip + size)
	return op, whole[skip:], err
}

// bindLater leaves the choice of a local port to connect(2), which may take one
// that is used towards another server. Without it bind(2) takes a port for good, and
// an address has 28,000.
func bindLater(fd int) error {
	const ipBindAddressNoPort = 24 // linux/in.h
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
}

// dial connects from an address of the loopback network, where each has ports of its
// own, with as few system calls as it takes: the clients share the machine with what
// they measure. It blocks its thread for the round trip over loopback; a server that
// accepts nothing more is given up by the kernel after two minutes.
func dial(address string, last int) (*os.File, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = bindLater(fd)
	if err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(last)}}))
	}
	if err == nil {
		err = os.NewSyscallError("connect", syscall.Connect(fd, &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}))
	}
	if err == nil {
		err = os.NewSyscallError("fcntl", syscall.SetNonblock(fd, true)) // reads wait in the runtime's poller
	}
	if err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), address), nil
}
