package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"waitroom/internal/limit"
	"waitroom/internal/room"
)

// Config are the flags of the edge.
type Config struct {
	Prefix         string        `help:"Path in front of every public URL, such as /queue; empty for none." env:"WAITROOM_PREFIX"`
	Origin         []string      `help:"Origins whose pages may open a connection, such as https://tickets.example or *.tickets.example; the host this server is asked by always may. A missing Origin is let through: only browsers send it." env:"WAITROOM_ORIGIN"`
	TrustedProxy   []string      `help:"Addresses (CIDR) of proxies whose X-Forwarded-Host, X-Forwarded-Proto and X-Forwarded-For are believed." env:"WAITROOM_TRUSTED_PROXY"`
	MaxConnections int           `help:"Most connections at once; one more is answered 503. The start checks that the limit of open files allows them." default:"15000" env:"WAITROOM_MAX_CONNECTIONS"`
	Limit          limit.Config  `embed:""`
	Drain          time.Duration `help:"How long connections are sent away one after another after SIGTERM." default:"10s" env:"WAITROOM_DRAIN"`
	ShopURL        string        `help:"Where a pass opens the shop, for rooms that name none; {room} is replaced." default:"http://127.0.0.1:8082/rooms/{room}/shop" env:"WAITROOM_SHOP_URL"`
}

// MaxConnections bounds --max-connections: a million files is what one kernel is
// usually set to.
const MaxConnections = 1_000_000

var prefixPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

// Check reports every wrong value.
func (c *Config) Check() error {
	var errs []error
	if !prefixPattern.MatchString(c.Prefix) {
		errs = append(errs, fmt.Errorf("--prefix %q: want a path such as /queue without a slash at its end", c.Prefix))
	}
	for _, o := range c.Origin {
		if err := validOrigin(o); err != nil {
			errs = append(errs, fmt.Errorf("--origin %q: %w", o, err))
		}
	}
	for _, p := range c.TrustedProxy {
		if _, err := netip.ParsePrefix(p); err != nil {
			errs = append(errs, fmt.Errorf("--trusted-proxy %q: want a CIDR such as 10.0.0.0/8", p))
		}
	}
	if c.MaxConnections < 1 || c.MaxConnections > MaxConnections {
		errs = append(errs, fmt.Errorf("--max-connections %d: want 1 to %d", c.MaxConnections, MaxConnections))
	}
	if c.Drain < 0 || c.Drain > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--drain %s: want 0s to 10m", c.Drain))
	}
	if err := room.ValidShopURL(strings.ReplaceAll(c.ShopURL, "{room}", "room")); err != nil || c.ShopURL == "" {
		errs = append(errs, fmt.Errorf("--shop-url %q: want a path or an http(s) URL without fragment and user", c.ShopURL))
	}
	return errors.Join(errs...)
}

func validOrigin(o string) error {
	if scheme, host, ok := strings.Cut(o, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return errors.New("want http or https")
		}
		o = host
	}
	if o == "" || strings.ContainsAny(o, "/?#@ ") {
		return errors.New("want a host, or scheme://host, without a path")
	}
	if _, err := path.Match(o, ""); err != nil {
		return errors.New("the pattern is malformed")
	}
	return nil
}

// origins decides which pages may open a connection.
type origins struct {
	patterns []string
	proxies  []netip.Prefix
}

func newOrigins(c Config) (*origins, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	o := &origins{}
	for _, p := range c.Origin {
		o.patterns = append(o.patterns, strings.ToLower(p))
	}
	for _, p := range c.TrustedProxy {
		o.proxies = append(o.proxies, netip.MustParsePrefix(p).Masked())
	}
	return o, nil
}

// asked is what a request shows of the public name of this server.
type asked struct {
	origin         string // the Origin header
	peer           string // address:port of the TCP peer
	host           string // the Host header
	forwardedHost  string
	forwardedProto string
}

// allow lets a page of our own host in, pages of the listed origins, and whatever
// sends no Origin: a program can write any Origin it likes, so refusing the
// missing one keeps nobody out but honest tools.
func (o *origins) allow(a asked) bool {
	if a.origin == "" {
		return true
	}
	u, err := url.Parse(a.origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	host, proto := a.host, ""
	if o.trusted(a.peer) {
		if a.forwardedHost != "" {
			host = a.forwardedHost
		}
		proto = a.forwardedProto
	}
	// Without a trusted proxy nobody says which scheme the page was loaded by.
	if strings.EqualFold(u.Host, host) && (proto == "" || strings.EqualFold(proto, u.Scheme)) {
		return true
	}
	full := strings.ToLower(u.Scheme + "://" + u.Host)
	for _, p := range o.patterns {
		target := strings.ToLower(u.Host)
		if strings.Contains(p, "://") {
			target = full
		}
		if ok, _ := path.Match(p, target); ok { // the pattern was checked at start
			return true
		}
	}
	return false
}

func (o *origins) trusted(peer string) bool {
	ap, err := netip.ParseAddrPort(peer)
	if err != nil {
		return false
	}
	for _, p := range o.proxies {
		if p.Contains(ap.Addr().Unmap()) {
			return true
		}
	}
	return false
}
