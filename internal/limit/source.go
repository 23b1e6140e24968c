package limit

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// maxHops bounds the elements of X-Forwarded-For that are looked at: nobody runs
// that many proxies of their own, and a header may be 16 KB long.
const maxHops = 16

// maxHop bounds an element in bytes: the longest address (45), a zone, brackets
// and a port.
const maxHop = 64

// shared is the address space between a carrier's NAT and its customers (RFC
// 6598). It is not routed on the Internet: what comes from it comes from a network
// of our own, such as a cluster's pods or a tunnel. A carrier's crowd shows the
// NAT's public address instead, and that one is limited.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// Source says whose address a request comes from. Safe for concurrent use.
type Source struct {
	trusted []netip.Prefix // set once
	private bool           // set once
}

// NewSource believes the proxies within trusted, and calls private peers limited
// too if private.
func NewSource(trusted []netip.Prefix, private bool) *Source {
	s := &Source{private: private}
	for _, p := range trusted {
		if p.IsValid() {
			s.trusted = append(s.trusted, plainPrefix(p))
		}
	}
	return s
}

// Client returns the address that a request counts for, as a /32 of IPv4 or a /64
// of IPv6 (what one household gets), and whether it is limited at all: private,
// loopback, link-local and shared addresses are not, unless NewSource was told so.
//
// peer is the address and port of the TCP peer, forwarded the values of
// X-Forwarded-For, one per header line, which together are one list. It is read
// only when the peer is trusted; then the client is the rightmost hop that is not
// trusted itself, since each proxy of ours wrote down whom it saw, and whatever
// stands further left was written by strangers. Where all are trusted it is the
// leftmost.
//
// An element that is no address tells nothing of who stood there, and those to its
// left may be anybody's: the last good hop to its right is all that is known, and
// counts. So it does behind maxHops. An empty element is rubbish too: a proxy that
// wrote nothing of its client must not lend its word to what the client wrote.
//
// A peer that is no address and port (a Unix socket) is on this machine and never
// limited: the prefix is then the zero value.
func (s *Source) Client(peer string, forwarded []string) (key netip.Prefix, limited bool) {
	ap, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Prefix{}, false
	}
	client := plain(ap.Addr())
	if len(forwarded) > 0 && s.trusts(client) {
		client = s.behind(client, forwarded)
	}
	bits := 64
	if client.Is4() {
		bits = 32
	}
	key, _ = client.Prefix(bits) // it has a valid address and a length that fits
	return key, s.private || !inner(client)
}

// behind follows the hops behind a trusted proxy.
func (s *Source) behind(proxy netip.Addr, forwarded []string) netip.Addr {
	last, n := proxy, 0
	for text := range fromTheRight(forwarded) {
		hop, ok := parseHop(text)
		if !ok || n == maxHops {
			return last
		}
		last = hop
		if !s.trusts(hop) {
			return hop
		}
		n++
	}
	return last
}

func (s *Source) trusts(a netip.Addr) bool {
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// fromTheRight yields the elements of a list in several lines, the last one first.
func fromTheRight(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := len(lines) - 1; i >= 0; i-- {
			rest, more := lines[i], true
			for more {
				comma := strings.LastIndexByte(rest, ',')
				if !yield(rest[comma+1:]) {
					return
				}
				if more = comma >= 0; more {
					rest = rest[:comma]
				}
			}
		}
	}
}

// parseHop reads an element: an address, one in brackets, or one with a port. What
// no client can have is none.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t")
	if text == "" || len(text) > maxHop {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(text)
		a = ap.Addr()
	}
	if inside, ok := strings.CutPrefix(text, "["); err != nil && ok && strings.HasSuffix(inside, "]") {
		if a, err = netip.ParseAddr(strings.TrimSuffix(inside, "]")); err == nil && a.Is4() {
			return netip.Addr{}, false
		}
	}
	if err != nil || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, false
	}
	return plain(a), true
}

// plain takes an IPv4 address out of its IPv6 form, and leaves out the zone, which
// means something on the machine that wrote it only.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// plainPrefix does the same with a network.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// inner reports an address that no visitor on the Internet has.
func inner(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

// Bounds of what one operator can own: 10.0.0.0/8 is the widest network of IPv4
// that is anybody's own, fc00::/7 of IPv6, where providers get /16 at the most.
const (
	widest4 = 8
	widest6 = 16
)

var ownNetworks6 = netip.MustParsePrefix("fc00::/7")

// Warnings returns a sentence for each trusted network that is wider than anybody's
// own, 0.0.0.0/0 above all: whoever connects from there chooses its address.
func Warnings(trusted []netip.Prefix) []string {
	var out []string
	for _, given := range trusted {
		if !given.IsValid() {
			continue
		}
		p := plainPrefix(given)
		own := p.Bits() >= widest4
		if p.Addr().Is6() {
			own = p.Bits() >= widest6 || p.Bits() >= ownNetworks6.Bits() && ownNetworks6.Contains(p.Addr())
		}
		if !own {
			out = append(out, fmt.Sprintf("--trusted-proxy %s: visitors may come from there too, and then X-Forwarded-For is what they write: no limit per address holds them; name your proxies only", given))
		}
	}
	return out
}
