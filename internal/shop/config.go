package shop

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"waitroom/internal/limit"
)

// Config is the edge's flags. ARCHITECTURE.md argues the defaults.
type Config struct {
	MaxSeats int           `help:"Seats that one visitor may hold and buy." default:"6" env:"WAITROOM_MAX_SEATS"`
	MaxCalls int           `help:"Most requests of one kind (passes, holds, purchases) at once, with those that wait for their turn; further ones are told to come back." default:"2000" env:"WAITROOM_MAX_CALLS"`
	Patience time.Duration `help:"How long a request waits for its turn before it is told to come back." default:"5s" env:"WAITROOM_PATIENCE"`

	TrustedProxy  []string `help:"Addresses (CIDR) of proxies whose X-Forwarded-For is believed." env:"WAITROOM_TRUSTED_PROXY"`
	LimitOpen     int      `name:"limit-open" help:"Most requests in service at once from one address (IPv4) or /64 (IPv6); one more is answered 429. 0: no limit." default:"1000" env:"WAITROOM_LIMIT_OPEN"`
	LimitRequests int      `name:"limit-requests" help:"Requests per second from one address beyond --limit-requests-burst; further ones are answered 429. 0: no limit." default:"1000" env:"WAITROOM_LIMIT_REQUESTS"`
	RequestsBurst int      `name:"limit-requests-burst" help:"Requests at once from an address after a quiet time." default:"4000" env:"WAITROOM_LIMIT_REQUESTS_BURST"`
	LimitPrivate  bool     `name:"limit-private" help:"Limit private, loopback, link-local and shared (100.64.0.0/10) addresses too." env:"WAITROOM_LIMIT_PRIVATE"`
}

// Bounds of the flags.
const (
	// maxPatience leaves a request that waited two seconds of callLimit to be served in.
	maxPatience = callLimit - 2*time.Second
	mostCalls   = 100_000
	mostLimit   = 1_000_000 // as of limit.Config: more than one process could ever take
)

// Check reports every value out of bounds, joined. The burst of a limit that is off is
// not looked at.
func (c Config) Check() error {
	var errs []error
	check := func(flag string, value, least, most int) {
		if value < least || value > most {
			errs = append(errs, fmt.Errorf("--%s %d: want %d to %d", flag, value, least, most))
		}
	}
	check("max-seats", c.MaxSeats, 1, 50) // 50 names fit the column of a hold
	check("max-calls", c.MaxCalls, 1, mostCalls)
	if c.Patience < 0 || c.Patience > maxPatience {
		errs = append(errs, fmt.Errorf("--patience %s: want 0s to %s", c.Patience, maxPatience))
	}
	for _, p := range c.TrustedProxy {
		if _, err := netip.ParsePrefix(p); err != nil {
			errs = append(errs, fmt.Errorf("--trusted-proxy %q: want a CIDR such as 10.0.0.0/8", p))
		}
	}
	check("limit-open", c.LimitOpen, 0, mostLimit)
	check("limit-requests", c.LimitRequests, 0, mostLimit)
	if c.LimitRequests != 0 {
		check("limit-requests-burst", c.RequestsBurst, 1, mostLimit)
	}
	return errors.Join(errs...)
}

// proxies are the trusted ones; the flags have passed Check.
func (c Config) proxies() []netip.Prefix {
	var list []netip.Prefix
	for _, p := range c.TrustedProxy {
		if prefix, err := netip.ParsePrefix(p); err == nil {
			list = append(list, prefix)
		}
	}
	return list
}

// addresses are the limits per address in the words of package limit: a connection
// there is a request here, and a join the try of a pass that nobody has seen yet.
func (c Config) addresses() limit.Config {
	return limit.Config{Connections: c.LimitOpen, Connects: c.LimitRequests, ConnectsBurst: c.RequestsBurst,
		Joins: tries, JoinsBurst: triesBurst, Private: c.LimitPrivate}
}
