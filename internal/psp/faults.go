package psp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// longest bounds every time of Faults: longer than any client waits.
const longest = Span(10 * time.Minute)

// Span is a duration that reads and writes as 500ms in JSON too.
type Span time.Duration

// UnmarshalText reads 500ms, 30s or 5m.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("want a duration such as 500ms, 30s or 5m")
	}
	*s = Span(d)
	return nil
}

// MarshalText writes it as it is read.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Span) String() string { return time.Duration(s).String() }

// Faults are what goes wrong, beside what a card does. A share is of 0 to 1, of all
// requests or of all callbacks; each is drawn by itself.
type Faults struct {
	Latency Span `json:"latency" help:"How long every request takes." default:"0s"`
	Jitter  Span `json:"jitter" help:"Up to so much longer, at random." default:"0s"`
	Slow    Span `json:"slow" help:"How much longer an authorisation by card_slow takes." default:"3s"`
	Late    Span `json:"late" help:"How late a late callback comes. It is signed with the time at which it should have come." default:"10s"`

	Declines float64 `json:"declines" help:"Share of authorisations that are declined." default:"0"`
	Timeouts float64 `json:"timeouts" help:"Share of acts that are done and never answered." default:"0"`
	Cuts     float64 `json:"cuts" help:"Share of acts that are done and whose connection is cut in place of an answer." default:"0"`
	Errors   float64 `json:"errors" help:"Share of requests that are answered 500; nothing is done." default:"0"`
	HTML     float64 `json:"html" name:"html" help:"Share of requests that are answered with an HTML page; nothing is done." default:"0"`

	Duplicates float64 `json:"duplicates" help:"Share of callbacks that are sent twice." default:"0"`
	Lates      float64 `json:"lates" help:"Share of callbacks that come late." default:"0"`
	Forgeries  float64 `json:"forgeries" help:"Share of callbacks before which a forged one is sent." default:"0"`

	Outage bool `json:"outage" help:"Cut the connection of every request about payments: the service is away. Nothing is done."`
}

// Check reports every wrong value.
func (f Faults) Check() error {
	var errs []error
	for _, s := range []struct {
		name string
		span Span
	}{{"latency", f.Latency}, {"jitter", f.Jitter}, {"slow", f.Slow}, {"late", f.Late}} {
		if s.span < 0 || s.span > longest {
			errs = append(errs, fmt.Errorf("--%s %s: want 0s to %s", s.name, s.span, longest))
		}
	}
	for _, s := range []struct {
		name  string
		share float64
	}{{"declines", f.Declines}, {"timeouts", f.Timeouts}, {"cuts", f.Cuts}, {"errors", f.Errors}, {"html", f.HTML},
		{"duplicates", f.Duplicates}, {"lates", f.Lates}, {"forgeries", f.Forgeries}} {
		if !(s.share >= 0 && s.share <= 1) { // NaN is neither
			errs = append(errs, fmt.Errorf("--%s %v: want a share of 0 to 1", s.name, s.share))
		}
	}
	return errors.Join(errs...)
}

// dice holds the faults of now and draws by them, with one seed for a run.
type dice struct {
	mu     sync.Mutex
	faults Faults
	random *rand.Rand
}

func newDice(f Faults, seed uint64) *dice {
	return &dice{faults: f, random: rand.New(rand.NewPCG(seed, 0))} // one of the generator's two numbers is enough
}

// now are the faults as they are.
func (d *dice) now() Faults {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults
}

// roll reports whether a share is met.
func (d *dice) roll(share float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return share > 0 && d.random.Float64() < share
}

// delay is how long a request takes.
func (d *dice) delay() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	delay := time.Duration(d.faults.Latency)
	if d.faults.Jitter > 0 {
		delay += time.Duration(d.random.Int64N(int64(d.faults.Jitter)))
	}
	return delay
}

// change takes over what JSON says, all of it or nothing.
func (d *dice) change(body io.Reader) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.faults
	in := json.NewDecoder(body)
	in.DisallowUnknownFields()
	if err := in.Decode(&next); err != nil {
		return err
	}
	if err := next.Check(); err != nil {
		return err
	}
	d.faults = next
	return nil
}
