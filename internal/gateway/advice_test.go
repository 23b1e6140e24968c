package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// What an operator can mend is said once, with what to set.
func TestAdvice(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	a := newAdvice(zap.New(core))
	browser := func(change func(*http.Request)) func() {
		return func() {
			r := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Sec-Websocket-Key": {"x"}, "Upgrade": {"websocket"}, "Connection": {"keep-alive, Upgrade"}}}
			change(r)
			a.handshake(r)
		}
	}
	for _, c := range []struct {
		name string
		do   func()
		want string // within the line; "": none
	}{
		{"a page elsewhere", func() {
			a.origin(asked{origin: "https://shop.example", host: "wait.example", peer: "192.0.2.1:5"}, false)
		}, "--origin https://shop.example"},
		{"once more", func() {
			a.origin(asked{origin: "https://shop.example", host: "wait.example", peer: "192.0.2.1:6"}, false)
		}, ""},
		{"a proxy not trusted", func() {
			a.origin(asked{origin: "https://wait.example", host: "127.0.0.1:8080", peer: "10.1.2.3:5", forwardedHost: "wait.example"}, false)
		}, "--trusted-proxy for its address 10.1.2.3"},
		{"a stranger who says so", func() {
			a.origin(asked{origin: "https://x.example", host: "wait.example", peer: "198.51.100.7:5", forwardedHost: "x.example"}, false)
		}, "for its address host"},
		{"a trusted proxy with the wrong scheme", func() {
			a.origin(asked{origin: "https://wait.example", host: "x", peer: "10.1.2.3:5", forwardedHost: "wait.example", forwardedProto: "http"}, true)
		}, "X-Forwarded-Proto"},
		{"a proxy that changes the Host", func() {
			a.origin(asked{origin: "https://wait.example", host: "127.0.0.1:8080", peer: "127.0.0.1:5"}, false)
		}, "proxy_set_header Host"},
		{"rubbish", func() { a.origin(asked{origin: "null", host: "wait.example"}, false) }, ""},
		{"no browser", browser(func(r *http.Request) { r.Header = http.Header{} }), ""},
		{"a good handshake that failed otherwise", browser(func(*http.Request) {}), ""},
		{"without Upgrade", browser(func(r *http.Request) { r.Header.Del("Upgrade") }), "proxy_http_version 1.1"},
		{"HTTP/1.0, the same advice", browser(func(r *http.Request) { r.ProtoMinor = 0 }), ""},
	} {
		c.do()
		got := ""
		for _, e := range logs.TakeAll() {
			got += e.Message + fmt.Sprint(e.ContextMap())
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	for i := range 10 * maxAdvice {
		a.origin(asked{origin: fmt.Sprintf("https://s%d.example", i), host: "wait.example"}, false)
	}
	all := logs.TakeAll()
	const origins = "pages of this origin are refused"
	if len(all) >= maxAdvice || a.lines[origins] != maxAdvice || len(a.said) > 2*maxAdvice {
		t.Errorf("got %d lines, %d of origins and %d kept, want at most %d of a kind", len(all), a.lines[origins], len(a.said), maxAdvice)
	}
	if last := fmt.Sprint(all[len(all)-1].ContextMap()); !strings.Contains(last, "only counted") {
		t.Errorf("got %s, want the last line to say that it is the last", last)
	}
	// Another kind is still told.
	a.address(&http.Request{Header: http.Header{}}, true)
	if got := logs.TakeAll(); len(got) != 1 {
		t.Errorf("got %d lines about an address after all those origins, want one", len(got))
	}
}
