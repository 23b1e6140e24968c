// Command demo is the whole of waitroom in one process, with nothing but Go
// installed: the three roles out of the packages that the binaries use, on
// stand-ins for Redis, Kafka and SQL, and a crowd of bots that come over real
// sockets as everybody else does. Open the page it prints, and wait in line.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// maxBots keeps a slip of the finger from using up the process's open files:
// each bot is two of them.
const maxBots = 5_000

// No flag has an environment variable: a shell that carries the settings of a
// real fleet must not send the demo's crowd there.
type cli struct {
	process.Logging `embed:""`
	Bots            int      `help:"Visitors at once; who ends is replaced by a new one until the seats are sold." default:"300"`
	Rate            string   `help:"Admissions per second." default:"2"`
	Room            string   `help:"Name of the room." default:"show"`
	Seats           int      `help:"Seats of the room." default:"1000"`
	Redis           string   `help:"Use this Redis for the line: redis://host:port/db." placeholder:"URL"`
	Kafka           []string `help:"Use these Kafka brokers, with commas." placeholder:"HOST:PORT"`
	DB              string   `help:"Use this database: mysql://user:password@host:port/name, or sqlite:path/to/file.db." placeholder:"URL"`
	Listen          string   `help:"Address of both pages; 0.0.0.0:8080 lets phones in." default:"127.0.0.1:8080"`
	OpsListen       string   `help:"Address of /metrics, /healthz and /readyz." default:"127.0.0.1:9180"`
}

// Check reports every wrong value.
func (c *cli) Check() error {
	var errs []error
	if c.Bots < 0 || c.Bots > maxBots {
		errs = append(errs, fmt.Errorf("--bots %d: want 0 to %d", c.Bots, maxBots))
	}
	if _, err := room.ParseRate(c.Rate); err != nil {
		errs = append(errs, fmt.Errorf("--rate: %w", err))
	}
	if _, err := room.ParseName(c.Room); err != nil {
		errs = append(errs, fmt.Errorf("--room %q: %w", c.Room, err))
	}
	if _, err := seat.Generate(c.Seats, perRow); err != nil {
		errs = append(errs, fmt.Errorf("--seats %d: %w", c.Seats, err))
	}
	if c.DB != "" {
		if err := sqldb.CheckDSN(c.DB); err != nil {
			errs = append(errs, fmt.Errorf("--db: %w", err))
		}
	}
	return errors.Join(errs...)
}

func main() {
	// A person reads this log, unless told otherwise.
	if _, set := os.LookupEnv("WAITROOM_LOG_FORMAT"); !set {
		os.Setenv("WAITROOM_LOG_FORMAT", "text")
	}
	process.Main("demo", "A whole waiting room with a crowd of bots, in one process.", &cli{})
}

// Run listens, opens the servers, builds the roles and serves until ctx ends.
func (c *cli) Run(ctx context.Context, env *process.Env) error {
	var on addresses
	for _, l := range []struct {
		flag, address string
		listener      *net.Listener
	}{{"listen", c.Listen, &on.pages}, {"ops-listen", c.OpsListen, &on.ops}} {
		opened, err := process.Listen(l.flag, l.address)
		if err != nil {
			return err
		}
		defer opened.Close()
		*l.listener = opened
	}
	behind, err := c.open(ctx, env.Log)
	if err != nil {
		return err
	}
	defer behind.close()
	notes, err := c.prepare(ctx, behind)
	if err != nil {
		return err
	}
	house, err := c.build(ctx, env, behind, on)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Out, `%d seats, %d bots, %s admitted a second%s
  the line   %s/rooms/%s
  the seats  %s/rooms/%s/shop
  metrics    %s/metrics
%sCtrl-C ends it.
`, c.Seats, c.Bots, c.Rate, notes, url(on.pages), c.Room, url(on.pages), c.Room, url(on.ops), fromOutside(on.pages, c.Room))
	return house.serve(ctx)
}

// addresses are the two ports, open.
type addresses struct{ pages, ops net.Listener }

// url is how this machine reaches a listener.
func url(l net.Listener) string {
	host, port, _ := net.SplitHostPort(l.Addr().String()) // of a TCP listener: always both
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// outsideAtMost bounds the addresses printed: a machine with containers has dozens.
const outsideAtMost = 3

// fromOutside is where a phone in the same network finds a listener that takes
// every address, a line each; "" when it takes one only, or there is no network.
func fromOutside(l net.Listener, room string) string {
	host, port, _ := net.SplitHostPort(l.Addr().String())
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return ""
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "" // the pages are served all the same
	}
	var lines []string
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || !n.IP.IsGlobalUnicast() || len(lines) == outsideAtMost {
			continue
		}
		lines = append(lines, fmt.Sprintf("  elsewhere  http://%s/rooms/%s\n", net.JoinHostPort(n.IP.String(), port), room))
	}
	return strings.Join(lines, "")
}
