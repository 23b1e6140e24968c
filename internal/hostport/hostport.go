// Package hostport is the one check of an address, host:port, for every flag of every
// binary. It looks nothing up: a host that does not exist is told by whoever dials it,
// since it may exist a minute later.
package hostport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// What is wrong, without a word of the text: a URL of Redis is cut into parts, and what
// looks like its host or port may be the end of a password.
var (
	errForm     = errors.New("want host:port")
	errURL      = errors.New("want host:port and no URL")
	errSpace    = errors.New("want host:port without spaces")
	errIPv6     = errors.New("want an IPv6 address in brackets, such as [::1]:8080")
	errPort     = errors.New("want a port from 1 to 65535")
	errOwnPort  = errors.New("want a port from 0 to 65535, 0 for any that is free")
	errNoServer = errors.New("want at least one host:port")
)

const maxPort = 65535

// Server checks the address of a server that is to be dialled, and returns it in its one
// form. A text without a port has the port byDefault; with 0 it is refused.
func Server(text string, byDefault int) (string, error) {
	host, port, err := split(text, byDefault)
	if err != nil {
		return "", err
	}
	if host == "" {
		return "", errForm
	}
	if port < 1 {
		return "", errPort
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// Listen checks an address to listen on: without a host it is every address of the
// machine, and port 0 is any that is free.
func Listen(text string) error {
	_, _, err := split(text, 0)
	if errors.Is(err, errPort) {
		return errOwnPort
	}
	return err
}

// Servers checks the values of a flag that takes several servers. Its error has each
// wrong one, with the flag.
func Servers(flag string, texts []string) error {
	var errs []error
	for _, text := range texts {
		if _, err := Server(text, 0); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", flag, text, err))
		}
	}
	if len(texts) == 0 {
		errs = append(errs, fmt.Errorf("%s: %w", flag, errNoServer))
	}
	return errors.Join(errs...)
}

// split takes a text apart; its port is one that a number of 16 bits can be.
func split(text string, byDefault int) (host string, port int, err error) {
	switch {
	case strings.Contains(text, "://"):
		return "", 0, errURL
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "", 0, errSpace
	}
	host, digits := text, strconv.Itoa(byDefault)
	if colon := strings.LastIndexByte(text, ':'); colon > strings.LastIndexByte(text, ']') {
		host, digits = text[:colon], text[colon+1:]
	} else if byDefault == 0 {
		return "", 0, errForm
	}
	switch bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"); {
	case len(host)-len(bare) == 2:
		if addr, err := netip.ParseAddr(bare); err != nil || !addr.Is6() {
			return "", 0, errIPv6
		}
		host = bare
	case isIPv6(host) || isIPv6(text):
		return "", 0, errIPv6
	case strings.ContainsAny(host, `:@%[]<>"'/\?#,;`):
		return "", 0, errForm
	}
	port, err = strconv.Atoi(digits)
	if err != nil || port < 0 || port > maxPort || digits[0] == '+' || digits[0] == '-' {
		return "", 0, errPort
	}
	return host, port, nil
}

func isIPv6(text string) bool {
	addr, err := netip.ParseAddr(text)
	return err == nil && addr.Is6()
}
