package gateway

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func good() Config {
	return Config{MaxConnections: 1, ShopURL: "http://127.0.0.1:8082/rooms/{room}/shop"}
}

func TestConfigReportsEveryWrongValue(t *testing.T) {
	c := good()
	if err := c.Check(); err != nil {
		t.Errorf("got %v, want none", err)
	}
	c = Config{Prefix: "queue/", Origin: []string{"ftp://x", "https://a/b", "[x"}, TrustedProxy: []string{"10.0.0.1"},
		MaxConnections: -1, Drain: time.Hour, ShopURL: "javascript:alert(1)"}
	err := c.Check()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`--prefix "queue/"`, `--origin "ftp://x"`, `--origin "https://a/b"`, `--origin "[x"`,
		`--trusted-proxy "10.0.0.1"`, "--max-connections -1", "--drain 1h0m0s", "--shop-url"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s among it", err, want)
		}
	}
}

func TestOrigins(t *testing.T) {
	c := good()
	c.Origin = []string{"https://tickets.example", "*.shop.example"}
	c.TrustedProxy = []string{"10.0.0.0/8", "::1/128"}
	o, err := newOrigins(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		asked
		want bool
	}{
		{"none", asked{host: "a.example"}, true},
		{"our own host", asked{origin: "http://A.example:8080", host: "a.example:8080", peer: "1.2.3.4:5"}, true},
		{"another port", asked{origin: "http://a.example", host: "a.example:8080", peer: "1.2.3.4:5"}, false},
		{"listed", asked{origin: "https://tickets.example", host: "a.example"}, true},
		{"listed, another scheme", asked{origin: "http://tickets.example", host: "a.example"}, false},
		{"listed by pattern", asked{origin: "https://www.Shop.example", host: "a.example"}, true},
		{"a suffix of it", asked{origin: "https://evilshop.example", host: "a.example"}, false},
		{"null", asked{origin: "null", host: "a.example"}, false},
		{"not a URL", asked{origin: "::", host: "a.example"}, false},
		{"forwarded by a stranger", asked{origin: "https://evil.example", host: "a.example", peer: "1.2.3.4:5", forwardedHost: "evil.example", forwardedProto: "https"}, false},
		{"forwarded by our proxy", asked{origin: "https://public.example", host: "inner:8080", peer: "10.1.2.3:5", forwardedHost: "public.example", forwardedProto: "https"}, true},
		{"forwarded over IPv6", asked{origin: "https://public.example", host: "inner:8080", peer: "[::1]:5", forwardedHost: "public.example", forwardedProto: "https"}, true},
		{"forwarded, another scheme", asked{origin: "http://public.example", host: "inner:8080", peer: "10.1.2.3:5", forwardedHost: "public.example", forwardedProto: "https"}, false},
	} {
		if got := o.allow(c.asked); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}

// Whatever a request says: only the host it asks by, what a trusted proxy says for
// it, and the listed patterns open the door; nobody else's word changes anything.
func FuzzOrigins(f *testing.F) {
	c := good()
	c.Origin = []string{"*.shop.example", "https://tickets.example"}
	c.TrustedProxy = []string{"10.0.0.0/8"}
	o, err := newOrigins(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://a.example", "a.example", "1.2.3.4:5", "b.example", "https")
	f.Add("https://b.example", "a.example", "10.2.3.4:5", "b.example", "https")
	f.Add("http://b.example", "a.example", "[::ffff:10.2.3.4]:5", "b.example", "https")
	f.Add("https://www.shop.example", "a", "", "", "")
	f.Add("https://evil.example/.shop.example", "a", "", "", "")
	f.Add("https://tickets.example@evil.example", "a", "10.0.0.1:1", "evil.example, a", "http")
	f.Fuzz(func(t *testing.T, origin, host, peer, forwardedHost, forwardedProto string) {
		q := asked{origin: origin, host: host, peer: peer, forwardedHost: forwardedHost, forwardedProto: forwardedProto}
		in, trusted := o.allow(q), o.trusted(peer)
		if !trusted && in != o.allow(asked{origin: origin, host: host, peer: peer}) {
			t.Errorf("%+v: got an untrusted peer's headers change the answer", q)
		}
		if !in || origin == "" {
			return
		}
		u, err := url.Parse(origin)
		if err != nil {
			t.Fatalf("%+v: got let in, and it is no URL", q)
		}
		is := func(s string) bool { return strings.EqualFold(u.Host, s) }
		if !is(host) && !(trusted && is(forwardedHost)) && !is("tickets.example") && !strings.HasSuffix(strings.ToLower(u.Host), ".shop.example") {
			t.Errorf("%+v: got host %q let in", q, u.Host)
		}
	})
}
