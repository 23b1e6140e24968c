package room

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"
)

// Rate is admissions per second in thousandths: 200/s is 200_000. Whole numbers
// only, so that the bucket's arithmetic stays exact below 2^53.
type Rate int64

// MaxRate is 1,000,000 admissions per second: far above what one line can do
// (about 270,000/s), near enough that a slip of the finger is refused.
const MaxRate Rate = 1_000_000_000

var ratePattern = regexp.MustCompile(`^[0-9]{1,7}(\.[0-9]{1,3})?$`)

// ParseRate reads "200" or "7.333": per second, at most three decimals, above 0.
func ParseRate(s string) (Rate, error) {
	if !ratePattern.MatchString(s) {
		return 0, fmt.Errorf("rate %q: want a number per second with at most three decimals", s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("rate %q: %w", s, err)
	}
	r := Rate(math.Round(f * 1000))
	return r, r.Valid()
}

// Valid refuses 0 (pause instead) and anything above MaxRate.
func (r Rate) Valid() error {
	if r <= 0 {
		return errors.New("rate 0 is refused: pause the room instead")
	}
	if r > MaxRate {
		return fmt.Errorf("rate %s is above %s per second", r, MaxRate)
	}
	return nil
}

// String prints the rate per second without trailing zeros.
func (r Rate) String() string { return strconv.FormatFloat(float64(r)/1000, 'f', -1, 64) }

// MinBurst is the least burst that reaches the rate on a busy machine, where an
// admitter may wake 100 ms late: what the rate gives in that time, rounded up, and at
// least 2, since with 1 the part of a visitor that is left over is lost at each
// round. `set` raises a smaller one and says so.
func (r Rate) MinBurst() int64 { return max(2, (int64(r)+9_999)/10_000) }

// State is what operators write; nothing else does.
type State string

// The states of a room. Opening queues joins and admits nobody, until an
// operator opens the room or its opens_at passes.
const (
	Opening State = "opening"
	Open    State = "open"
	Paused  State = "paused"
	Closed  State = "closed"
)

// ParseState returns s as a State.
func ParseState(s string) (State, error) {
	switch State(s) {
	case Opening, Open, Paused, Closed:
		return State(s), nil
	}
	return "", fmt.Errorf("state %q: want opening, open, paused or closed", s)
}

// Shown is the state a visitor is told: the stored state and what is derived.
type Shown string

// What a visitor can be shown. The first five beside Open are ordered by
// Conf.Shown; Stalled and Recovering are the node's own finding.
const (
	ShownClosed     Shown = "closed"
	ShownSoldOut    Shown = "sold_out"
	ShownPaused     Shown = "paused"
	ShownFull       Shown = "full"
	ShownOpening    Shown = "opening"
	ShownOpen       Shown = "open"
	ShownStalled    Shown = "stalled"
	ShownRecovering Shown = "recovering"
)

// Bounds of a room's configuration.
const (
	MaxBurst      = 9_000_000 // burst × 1e9 stays below 2^53
	MaxActive     = 10_000_000
	MaxWaiting    = int64(MaxNumber)
	MaxStockRev   = 1<<53 - 1 // whole numbers of a script end there
	MinClaim      = time.Second
	MaxClaim      = time.Hour
	MinPass       = 10 * time.Second
	MaxPass       = 24 * time.Hour
	MinGrace      = 30 * time.Second // a page that lost its connection may wait so long before it dials again
	MaxGrace      = time.Hour        // a longer one would keep the places of people who went home
	MaxNotice     = 280              // characters: the page shows it in one box
	MaxURL        = 1024
	DefaultClaim  = 2 * time.Minute
	DefaultPass   = 10 * time.Minute
	DefaultActive = 500
	DefaultGrace  = 2 * time.Minute // without a sign of a waiting visitor, until it leaves the line
)

// Conf is a room's live configuration as the line holds it.
type Conf struct {
	Epoch      Epoch
	Rate       Rate
	Burst      int64         // visitors
	MaxActive  int64         // slots: unclaimed and active together
	MaxWaiting int64         // visitors in the line at once
	Claim      time.Duration // whole ms: how long an admission waits for its claim
	Pass       time.Duration // whole ms: how long a pass opens the shop
	Grace      time.Duration // whole ms: how long a waiting visitor whom nobody sees keeps the place
	State      State
	OpensAt    time.Time // zero: only an operator opens
	SoldOut    bool      // said by booking facts, ended by newer ones or an operator's reopen
	StockRev   int64     // of the shop's stock, the greatest that a fact or a reopen told; 0: none did. Rev does not rise with it
	Notice     string
	ShopURL    string
	Rev        int64 // +1 per change
	EventRev   int64 // +1 per change of the room's event; 0: nothing was ever set
}

// DefaultConf is what `room create` starts from.
func DefaultConf() Conf {
	r := Rate(10_000)
	return Conf{Rate: r, Burst: r.MinBurst(), MaxActive: DefaultActive, MaxWaiting: 1_000_000,
		Claim: DefaultClaim, Pass: DefaultPass, Grace: DefaultGrace, State: Opening}
}

// Valid reports every value out of bounds, joined.
func (c Conf) Valid() error {
	var errs []error
	bound := func(what string, got, lo, hi int64) {
		if got < lo || got > hi {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", what, got, lo, hi))
		}
	}
	errs = append(errs, c.Rate.Valid())
	bound("burst", c.Burst, 1, MaxBurst)
	bound("max-active", c.MaxActive, 1, MaxActive)
	bound("max-waiting", c.MaxWaiting, 1, MaxWaiting)
	bound("claim ms", c.Claim.Milliseconds(), MinClaim.Milliseconds(), MaxClaim.Milliseconds())
	bound("pass ms", c.Pass.Milliseconds(), MinPass.Milliseconds(), MaxPass.Milliseconds())
	bound("grace ms", c.Grace.Milliseconds(), MinGrace.Milliseconds(), MaxGrace.Milliseconds())
	if _, err := ParseState(string(c.State)); err != nil {
		errs = append(errs, err)
	}
	if !utf8.ValidString(c.Notice) || utf8.RuneCountInString(c.Notice) > MaxNotice {
		errs = append(errs, fmt.Errorf("notice: want at most %d characters of UTF-8", MaxNotice))
	}
	if err := ValidShopURL(c.ShopURL); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ValidShopURL accepts "" (the booker's own seat page), a path from "/", or an
// http(s) URL; no fragment, since the pass travels there.
func ValidShopURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > MaxURL:
	case u.Fragment != "" || u.User != nil:
	case u.Scheme == "" && u.Host == "" && s[0] == '/':
		return nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return nil
	}
	return errors.New("shop url: want a path or an http(s) URL without fragment and user")
}

// Shown derives what visitors see: closed > sold_out > paused > full > opening > open.
func (c Conf) Shown(waiting int64, now time.Time) Shown {
	switch {
	case c.State == Closed:
		return ShownClosed
	case c.SoldOut:
		return ShownSoldOut
	case c.State == Paused:
		return ShownPaused
	case waiting >= c.MaxWaiting:
		return ShownFull
	case c.State == Opening && (c.OpensAt.IsZero() || now.Before(c.OpensAt)):
		return ShownOpening
	}
	return ShownOpen
}
