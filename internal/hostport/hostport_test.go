package hostport

import (
	"strings"
	"testing"
)

// Each text as the address of a server, of one with a port of its own, and to listen on.
func TestAddresses(t *testing.T) {
	const port = 7
	for _, c := range []struct{ text, server, byDefault, listen string }{
		{"cache:6379", "cache:6379", "cache:6379", "ok"},
		{"127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", "ok"},
		{"[::1]:65535", "[::1]:65535", "[::1]:65535", "ok"},
		{"[fe80::1%eth0]:80", "[fe80::1%eth0]:80", "[fe80::1%eth0]:80", "ok"},
		{"no-such_host.example:1", "no-such_host.example:1", "no-such_host.example:1", "ok"},
		{"cache:01", "cache:1", "cache:1", "ok"},
		{":8080", "want host:port", "want host:port", "ok"},
		{"cache:0", "port from 1", "port from 1", "ok"},
		{"", "want host:port", "want host:port", "want host:port"},
		{":", "port from 1", "port from 1", "port from 0"},
		{"cache", "want host:port", "cache:7", "want host:port"},
		{"[::1]", "want host:port", "[::1]:7", "want host:port"},
		{"cache:", "port from 1", "port from 1", "port from 0"},
		{"cache:70000", "port from 1", "port from 1", "port from 0"},
		{"cache:-1", "port from 1", "port from 1", "port from 0"},
		{"cache:+1", "port from 1", "port from 1", "port from 0"},
		{"cache:http", "port from 1", "port from 1", "port from 0"},
		{"cache:99999999999999999999", "port from 1", "port from 1", "port from 0"},
		{"cache:80/x", "port from 1", "port from 1", "port from 0"},
		{"http://cache:80", "no URL", "no URL", "no URL"},
		{"kafka://cache:9092", "no URL", "no URL", "no URL"},
		{" cache:1", "without spaces", "without spaces", "without spaces"},
		{"cache :1", "without spaces", "without spaces", "without spaces"},
		{"cache:1\n", "without spaces", "without spaces", "without spaces"},
		{"::1:9092", "in brackets", "in brackets", "in brackets"},
		{"::1", "in brackets", "in brackets", "in brackets"},
		{"fe80::1", "in brackets", "in brackets", "in brackets"},
		{"[1.2.3.4]:1", "in brackets", "in brackets", "in brackets"},
		{"[cache]:1", "in brackets", "in brackets", "in brackets"},
		{"[::1:1", "want host:port", "want host:port", "want host:port"},
		{"::1]:1", "want host:port", "want host:port", "want host:port"},
		{"a:b:1", "want host:port", "want host:port", "want host:port"},
		{"ann@cache:1", "want host:port", "want host:port", "want host:port"},
		{"a:1,b:2", "want host:port", "want host:port", "want host:port"},
		{"/run/x.sock:1", "want host:port", "want host:port", "want host:port"},
	} {
		got := func(clean string, err error) string {
			if err == nil {
				return clean
			}
			if strings.Contains(err.Error(), "cache") || strings.Contains(err.Error(), "fe80") {
				t.Errorf("%q: got %q, which repeats what may be a password", c.text, err)
			}
			return err.Error()
		}
		for want, text := range map[string]string{
			"server\x00" + c.server:     got(Server(c.text, 0)),
			"default\x00" + c.byDefault: got(Server(c.text, port)),
			"listen\x00" + c.listen:     got("ok", Listen(c.text)),
		} {
			as, want, _ := strings.Cut(want, "\x00")
			if isError := strings.HasPrefix(text, "want "); text != want && !(isError && strings.Contains(text, want)) {
				t.Errorf("%q as %s: got %q, want %q", c.text, as, text, want)
			}
		}
	}
}

// The error of a list has each wrong one.
func TestServers(t *testing.T) {
	if err := Servers("--kafka", []string{"a:1", "[::1]:2"}); err != nil {
		t.Errorf("got %v, want none", err)
	}
	err := Servers("--kafka", []string{"a", "b:1", "", "c:0"})
	for _, want := range []string{`--kafka "a": want host:port`, `--kafka "": want host:port`, `--kafka "c:0": want a port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if err := Servers("--kafka", nil); err == nil || err.Error() != "--kafka: want at least one host:port" {
		t.Errorf("none: got %v", err)
	}
}
