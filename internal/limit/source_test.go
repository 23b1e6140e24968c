package limit

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// ours are the proxies of these tests: two networks inside and one on the Internet.
var ours = prefixes("10.0.0.0/8", "fd00::/8", "198.51.100.0/24")

func TestWhoseAddress(t *testing.T) {
	const proxy, stranger = "10.1.2.3:4711", "203.0.113.7:4711"
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
		limited    bool
	}{
		{"no proxy", stranger, nil, "203.0.113.7/32", true},
		{"no proxy, IPv6", "[2001:db8:1:2:3:4:5:6]:1", nil, "2001:db8:1:2::/64", true},
		{"the same household", "[2001:db8:1:2:ffff::9]:1", nil, "2001:db8:1:2::/64", true},
		{"IPv4 over an IPv6 socket", "[::ffff:203.0.113.7]:1", nil, "203.0.113.7/32", true},
		{"loopback", "127.0.0.1:1", nil, "127.0.0.1/32", false},
		{"loopback, IPv6", "[::1]:1", nil, "::/64", false},
		{"private", "192.168.1.9:1", nil, "192.168.1.9/32", false},
		{"unique local", "[fd12:3456::1]:1", nil, "fd12:3456::/64", false},
		{"link-local with a zone", "[fe80::1%eth0]:1", nil, "fe80::/64", false},
		{"link-local", "169.254.7.7:1", nil, "169.254.7.7/32", false},
		{"shared", "100.64.0.1:1", nil, "100.64.0.1/32", false},
		{"the end of shared", "100.127.255.255:1", nil, "100.127.255.255/32", false},
		{"behind shared", "100.128.0.0:1", nil, "100.128.0.0/32", true},
		{"a Unix socket", "@", []string{"1.2.3.4"}, "invalid Prefix", false},
		{"no peer", "", nil, "invalid Prefix", false},

		{"a stranger's header", stranger, []string{"1.2.3.4"}, "203.0.113.7/32", true},
		{"a stranger who calls itself private", stranger, []string{"10.0.0.1"}, "203.0.113.7/32", true},
		{"a stranger who names our proxy", stranger, []string{"1.2.3.4, 10.1.2.3"}, "203.0.113.7/32", true},
		{"a loopback peer that is not trusted", "127.0.0.1:1", []string{"1.2.3.4"}, "127.0.0.1/32", false},

		{"one proxy", proxy, []string{"1.2.3.4"}, "1.2.3.4/32", true},
		{"one proxy, IPv6-mapped", "[::ffff:10.1.2.3]:1", []string{"1.2.3.4"}, "1.2.3.4/32", true},
		{"one proxy, by IPv6", "[fd00::1]:1", []string{"1.2.3.4"}, "1.2.3.4/32", true},
		{"a proxy with a zone", "[fd00::1%eth0]:1", []string{"1.2.3.4"}, "1.2.3.4/32", true},
		{"a spoofed left part", proxy, []string{"9.9.9.9, 8.8.8.8, 1.2.3.4"}, "1.2.3.4/32", true},
		{"a spoofed private left part", proxy, []string{"127.0.0.1, 10.0.0.1, 1.2.3.4"}, "1.2.3.4/32", true},
		{"a spoofed line of its own", proxy, []string{"9.9.9.9", "1.2.3.4"}, "1.2.3.4/32", true},
		{"two proxies", proxy, []string{"1.2.3.4, 198.51.100.9"}, "1.2.3.4/32", true},
		{"two proxies in two lines", proxy, []string{"9.9.9.9, 1.2.3.4", "198.51.100.9"}, "1.2.3.4/32", true},
		{"a second proxy that is not ours", proxy, []string{"1.2.3.4, 198.51.101.9"}, "198.51.101.9/32", true},
		{"all are ours", proxy, []string{"10.0.0.9, 10.0.0.8"}, "10.0.0.9/32", false},
		{"a private client", proxy, []string{"1.2.3.4, 192.168.7.7"}, "192.168.7.7/32", false},
		{"IPv6", proxy, []string{"2001:db8:1:2::9"}, "2001:db8:1:2::/64", true},
		{"IPv6 in brackets", proxy, []string{"[2001:db8:1:2::9]"}, "2001:db8:1:2::/64", true},
		{"IPv6 with a port", proxy, []string{"[2001:db8:1:2::9]:443"}, "2001:db8:1:2::/64", true},
		{"IPv6 with a zone", proxy, []string{"2001:db8:1:2::9%25eth0"}, "2001:db8:1:2::/64", true},
		{"IPv4 with a port", proxy, []string{"1.2.3.4:5678"}, "1.2.3.4/32", true},
		{"IPv4 in IPv6", proxy, []string{"::ffff:1.2.3.4"}, "1.2.3.4/32", true},
		{"IPv4 in IPv6 in hex", proxy, []string{"::ffff:102:304"}, "1.2.3.4/32", true},
		{"a proxy of ours in IPv6", proxy, []string{"1.2.3.4, ::ffff:198.51.100.9"}, "1.2.3.4/32", true},
		{"spaces and tabs", proxy, []string{" \t 9.9.9.9 ,\t1.2.3.4  "}, "1.2.3.4/32", true},

		{"rubbish alone", proxy, []string{"unknown"}, "10.1.2.3/32", false},
		{"rubbish behind a proxy on the Internet", "198.51.100.7:1", []string{"1.2.3.4, unknown"}, "198.51.100.7/32", true},
		{"rubbish at the place of the client", proxy, []string{"1.2.3.4, unknown, 198.51.100.9"}, "198.51.100.9/32", true},
		{"rubbish further left", proxy, []string{"unknown, 1.2.3.4"}, "1.2.3.4/32", true},
		{"an empty header", "198.51.100.7:1", []string{""}, "198.51.100.7/32", true},
		{"an empty element at the place of the client", "198.51.100.7:1", []string{"1.2.3.4, "}, "198.51.100.7/32", true},
		{"an empty line at the place of the client", "198.51.100.7:1", []string{"1.2.3.4", ""}, "198.51.100.7/32", true},
		{"an empty element further left", proxy, []string{",, ,1.2.3.4"}, "1.2.3.4/32", true},
		{"commas only", "198.51.100.7:1", []string{",,,,"}, "198.51.100.7/32", true},
		{"too many numbers", "198.51.100.7:1", []string{"1.2.3.4.5"}, "198.51.100.7/32", true},
		{"a leading zero", "198.51.100.7:1", []string{"1.2.3.04"}, "198.51.100.7/32", true},
		{"a network", "198.51.100.7:1", []string{"1.2.3.0/24"}, "198.51.100.7/32", true},
		{"IPv4 in brackets", "198.51.100.7:1", []string{"[1.2.3.4]"}, "198.51.100.7/32", true},
		{"half a bracket", "198.51.100.7:1", []string{"[2001:db8::1"}, "198.51.100.7/32", true},
		{"two brackets", "198.51.100.7:1", []string{"[[2001:db8::1]]"}, "198.51.100.7/32", true},
		{"a quoted one", "198.51.100.7:1", []string{`"[2001:db8::1]"`}, "198.51.100.7/32", true},
		{"a foolish port", "198.51.100.7:1", []string{"1.2.3.4:99999"}, "198.51.100.7/32", true},
		{"nobody's address", "198.51.100.7:1", []string{"0.0.0.0"}, "198.51.100.7/32", true},
		{"many's address", "198.51.100.7:1", []string{"ff02::1"}, "198.51.100.7/32", true},
		{"bytes that are no text", "198.51.100.7:1", []string{"\x00\xff"}, "198.51.100.7/32", true},
		{"a long element", "198.51.100.7:1", []string{"2001:db8::1%" + strings.Repeat("x", 10_000)}, "198.51.100.7/32", true},
		{"too many hops", proxy, []string{"1.2.3.4" + strings.Repeat(", 198.51.100.9", maxHops)}, "198.51.100.9/32", true},
		{"as many hops as may be", proxy, []string{"1.2.3.4" + strings.Repeat(", 198.51.100.9", maxHops-1)}, "1.2.3.4/32", true},
	} {
		key, limited := NewSource(ours, false).Client(c.peer, c.forwarded)
		if key.String() != c.want || limited != c.limited {
			t.Errorf("%s: %s, %q: got %s, limited %t, want %s, %t", c.name, c.peer, c.forwarded, key, limited, c.want, c.limited)
		}
		// --limit-private makes no other key, and limits all who have one.
		if all, limited := NewSource(ours, true).Client(c.peer, c.forwarded); all != key || limited != key.IsValid() {
			t.Errorf("%s, private ones too: got %s, limited %t, want %s, %t", c.name, all, limited, key, key.IsValid())
		}
	}
}

func TestAMappedNetworkIsTrusted(t *testing.T) {
	s := NewSource(append(prefixes("::ffff:10.0.0.0/104"), netip.Prefix{}), false)
	if key, _ := s.Client("10.9.9.9:1", []string{"1.2.3.4"}); key.String() != "1.2.3.4/32" {
		t.Errorf("got %s, want the client behind a proxy that was named in IPv6", key)
	}
	if key, _ := s.Client("[::1]:1", []string{"1.2.3.4"}); key.String() != "::/64" {
		t.Errorf("got %s, want nothing believed from outside the network", key)
	}
}

func TestWarnings(t *testing.T) {
	wide := []string{"0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "::ffff:0.0.0.0/96", "f000::/4"}
	if got := Warnings(prefixes(wide...)); len(got) != len(wide) || !strings.Contains(got[0], "--trusted-proxy 0.0.0.0/0:") {
		t.Errorf("%v: got %q, want a sentence each that names the flag", wide, got)
	}
	own := []string{"10.0.0.0/8", "fc00::/7", "fd00::/8", "127.0.0.0/8", "::1/128", "203.0.113.0/24", "2001:db8::/32", "::ffff:10.0.0.0/104"}
	if got := Warnings(append(prefixes(own...), netip.Prefix{})); len(got) != 0 {
		t.Errorf("%v: got %q, want none", own, got)
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("10.1.2.3:1", "9.9.9.9, 1.2.3.4", "198.51.100.9")
	f.Add("[::ffff:10.1.2.3]:1", "[2001:db8::1]:443, unknown", ",,")
	f.Add("203.0.113.7:1", "1.2.3.4:5, fe80::1%x", "\x00")
	f.Add("@", "", "")
	s := NewSource(ours, true)
	f.Fuzz(func(t *testing.T, peer, one, two string) {
		key, limited := s.Client(peer, []string{one, two})
		if !limited {
			if key.IsValid() {
				t.Errorf("%q: got %s unlimited, want all limited", peer, key)
			}
			return
		}
		if key != key.Masked() || key.Bits() != 32 && key.Bits() != 64 {
			t.Errorf("got %s, want a whole /32 or /64", key)
		}
		alone, _ := s.Client(peer, nil)
		if key == alone {
			return
		}
		// Not the peer: then one of the elements, as a person reads it.
		for _, element := range strings.Split(one+","+two, ",") {
			text := strings.Trim(element, " \t")
			if ap, err := netip.ParseAddrPort(text); err == nil {
				text = ap.Addr().String()
			}
			text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
			if a, err := netip.ParseAddr(text); err == nil && key.Contains(a.Unmap().WithZone("")) {
				return
			}
		}
		t.Errorf("%q, %q, %q: got %s, want the peer or an element", peer, one, two, key)
	})
}
