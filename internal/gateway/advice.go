package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// maxAdvice bounds what a node says of one way to be refused while it runs: whoever
// varies an Origin must not fill the log. The counter of refusals goes on.
const maxAdvice = 16

// advice logs once, for each way in which an upgrade fails for a reason that an
// operator can mend, what to set.
type advice struct {
	log *zap.Logger

	mu    sync.Mutex
	said  map[string]bool // what and do, at most maxAdvice of each what
	lines map[string]int  // of each what, which are a few constants
}

func newAdvice(log *zap.Logger) *advice {
	return &advice{log: log, said: map[string]bool{}, lines: map[string]int{}}
}

func (a *advice) once(what, do string, fields ...zap.Field) {
	a.mu.Lock()
	known := a.said[what+do]
	room := !known && a.lines[what] < maxAdvice
	if room {
		a.said[what+do] = true
		a.lines[what]++
	}
	last := a.lines[what] == maxAdvice
	a.mu.Unlock()
	if known || !room {
		return
	}
	if last {
		fields = append(fields, zap.String("then", "further ones are only counted: waitroom_upgrades_refused_total"))
	}
	a.log.Warn(what, append(fields, zap.String("do", do))...)
}

// origin says what to set so that pages of a refused origin may connect.
func (a *advice) origin(q asked, trusted bool) {
	u, err := url.Parse(q.origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || len(q.origin) > 300 {
		return // no page's: no flag would let it in
	}
	do := "start with --origin " + u.Scheme + "://" + u.Host + ", if these pages are yours"
	peer, _, err := net.SplitHostPort(q.peer)
	switch {
	case err == nil && !trusted && strings.EqualFold(u.Host, q.forwardedHost):
		// A stranger can say so too, and visitors' addresses are not logged: only one
		// that no visitor comes from is named.
		do = "somebody in front says that the page is ours: if that is your proxy, start with --trusted-proxy for its address"
		if ip := net.ParseIP(peer); ip != nil && (ip.IsLoopback() || ip.IsPrivate()) {
			do += " " + peer
		}
	case trusted && strings.EqualFold(u.Host, q.forwardedHost) && !strings.EqualFold(u.Scheme, q.forwardedProto):
		do = fmt.Sprintf("the trusted proxy says X-Forwarded-Proto %q for a page loaded by %s: let it send the scheme that visitors use", q.forwardedProto, u.Scheme)
	case q.forwardedHost == "" && loopbackOrName(q.host):
		do = "if a proxy in front changes the Host, let it pass on the visitor's (nginx: proxy_set_header Host $host); else " + do
	}
	a.once("pages of this origin are refused", do, zap.String("origin", u.Scheme+"://"+u.Host), zap.String("host", q.host))
}

// address says what to look at when an address is refused that may be everybody's.
func (a *advice) address(r *http.Request, trusted bool) {
	forwarded := r.Header.Get("X-Forwarded-For")
	switch {
	case trusted && forwarded == "":
		a.once("a trusted proxy names no visitor, so that all behind it share its limits", "let it send X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for)")
	case !trusted && forwarded != "":
		// A stranger can write the header too, so no address is named.
		a.once("an address is over its limits, and somebody in front names its visitors", "if that is your proxy, start with --trusted-proxy for its address")
	default:
		a.once("an address is over its limits, further connections from it are refused", "nothing, if it is one visitor; if it is a crowd behind one address, raise --limit-connections, --limit-connects and --limit-joins")
	}
}

// loopbackOrName reports a Host that no visitor types: a loopback address, or a
// name without a dot, as a proxy's upstream has.
func loopbackOrName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate()
	}
	return !strings.Contains(host, ".")
}

// handshake says what to set when a proxy in front took the upgrade out of a
// browser's handshake: the key is there, the rest is not.
func (a *advice) handshake(r *http.Request) {
	if r.Header.Get("Sec-WebSocket-Key") == "" {
		return // not a browser's handshake
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade") && r.ProtoAtLeast(1, 1) {
		return
	}
	a.once("a WebSocket handshake came without its upgrade: no page behind this proxy can join",
		"let the proxy pass it on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade)",
		zap.String("proto", r.Proto))
}
