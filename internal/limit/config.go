package limit

import (
	"errors"
	"fmt"
)

// Config are the flags of the limits per address. ARCHITECTURE.md argues the
// defaults: whom they let through, and how much one address gets.
type Config struct {
	Connections   int  `name:"limit-connections" help:"Most connections at once from one address (IPv4) or /64 (IPv6) that came without a place; one more is answered 429. 0: no limit." default:"4000" env:"WAITROOM_LIMIT_CONNECTIONS"`
	Connects      int  `name:"limit-connects" help:"Connections per second from one address beyond --limit-connects-burst; further ones are answered 429. 0: no limit." default:"200" env:"WAITROOM_LIMIT_CONNECTS"`
	ConnectsBurst int  `name:"limit-connects-burst" help:"Connections at once that an address may open after a quiet time." default:"4000" env:"WAITROOM_LIMIT_CONNECTS_BURST"`
	Joins         int  `name:"limit-joins" help:"New places per second for one address beyond --limit-joins-burst; whoever is over it stays connected and asks again. 0: no limit." default:"100" env:"WAITROOM_LIMIT_JOINS"`
	JoinsBurst    int  `name:"limit-joins-burst" help:"New places at once for an address after a quiet time." default:"3000" env:"WAITROOM_LIMIT_JOINS_BURST"`
	Private       bool `name:"limit-private" help:"Limit private, loopback, link-local and shared (100.64.0.0/10) addresses too." env:"WAITROOM_LIMIT_PRIVATE"`
}

// most bounds each figure: more than one process could ever hold or take, and far
// from where the arithmetic of nanoseconds would end.
const most = 1_000_000

// Check reports every wrong value. The burst of a limit that is off is not looked
// at.
func (c *Config) Check() error {
	var errs []error
	check := func(flag string, value, least int) {
		if value < least || value > most {
			errs = append(errs, fmt.Errorf("--%s %d: want %d to %d", flag, value, least, most))
		}
	}
	check("limit-connections", c.Connections, 0)
	check("limit-connects", c.Connects, 0)
	if c.Connects != 0 {
		check("limit-connects-burst", c.ConnectsBurst, 1)
	}
	check("limit-joins", c.Joins, 0)
	if c.Joins != 0 {
		check("limit-joins-burst", c.JoinsBurst, 1)
	}
	return errors.Join(errs...)
}
