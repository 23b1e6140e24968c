package admission

import (
	"errors"
	"fmt"
	"time"

	"waitroom/internal/room"
)

// Config are the flags of `admitter run` that say what it does.
//
// The values of a room among them are applied at start, and to rooms that
// appear later, only where they differ from the value last applied from that
// flag: a restart with the same flags never undoes a live change.
type Config struct {
	// Process is the id that signs this process's life: the line knows by it who may
	// still tell it what it lost. Not a flag.
	Process string `kong:"-"`

	Rooms     []string       `name:"room" help:"Serve only this room; repeatable. Without it: every room of the registry. Booking facts are applied for every room in any case." placeholder:"NAME" env:"WAITROOM_ROOM"`
	Rate      *string        `help:"Set the rate of the rooms served: admissions per second, at most three decimals." placeholder:"PER-SECOND" env:"WAITROOM_RATE"`
	Burst     *int64         `help:"Set how many may be admitted at once after a quiet time." placeholder:"VISITORS" env:"WAITROOM_BURST"`
	MaxActive *int64         `help:"Set how many may be inside at once, unclaimed and active together." placeholder:"VISITORS" env:"WAITROOM_MAX_ACTIVE"`
	Claim     *time.Duration `help:"Set how long an admission waits for its claim." placeholder:"DURATION" env:"WAITROOM_CLAIM"`
	Pass      *time.Duration `help:"Set how long a pass opens the shop." placeholder:"DURATION" env:"WAITROOM_PASS"`
}

// Check reports every wrong value, joined.
func (c *Config) Check() error {
	var errs []error
	for _, name := range c.Rooms {
		if _, err := room.ParseName(name); err != nil {
			errs = append(errs, fmt.Errorf("--room %q: %w", name, err))
		}
	}
	_, err := c.change("check")
	return errors.Join(append(errs, err)...)
}

// change is what the flags ask of each room served.
func (c *Config) change(actor string) (room.Change, error) {
	change, err := c.values().Change(actor)
	change.FromFlags = true
	return change, err
}

func (c *Config) values() *Values {
	return &Values{Rate: c.Rate, Burst: c.Burst, MaxActive: c.MaxActive, Claim: c.Claim, Pass: c.Pass}
}

// Values are a room's fields as an operator writes them; nil is not given.
//
// They have no environment variables on purpose: a shell that happens to carry
// WAITROOM_RATE must not change the rate when its user sets the burst.
type Values struct {
	Rate       *string        `help:"Admissions per second, at most three decimals." placeholder:"PER-SECOND"`
	Burst      *int64         `help:"How many may be admitted at once after a quiet time; raised to 100 ms of the rate, and to 2." placeholder:"VISITORS"`
	MaxActive  *int64         `help:"How many may be inside at once, unclaimed and active together." placeholder:"VISITORS"`
	MaxWaiting *int64         `help:"How many may wait; the next one is told that the room is full." placeholder:"VISITORS"`
	Claim      *time.Duration `help:"How long an admission waits for its claim." placeholder:"DURATION"`
	Pass       *time.Duration `help:"How long a pass opens the shop." placeholder:"DURATION"`
	OpensAt    *string        `help:"When the room opens by itself, as 2026-11-21T18:00:00Z; \"never\" leaves it to an operator." placeholder:"TIME"`
	ShopURL    *string        `help:"Where a pass is taken: a path or an http(s) URL; {room} is replaced. Empty: the booker's own page." placeholder:"URL"`
	Notice     *string        `help:"A sentence for everybody who waits, at most 280 characters." placeholder:"TEXT"`
	Title      *string        `help:"What the sale is for, at most 120 characters; empty: the pages show the room's name." placeholder:"TEXT"`
	StartsAt   *string        `help:"When the event itself begins, as 2026-11-21T18:00:00Z; \"never\" tells no time." placeholder:"TIME"`
	Venue      *string        `help:"Where it is, at most 120 characters; empty: not told." placeholder:"TEXT"`
	Brand      *string        `help:"How the pages look: a JSON file with accent (a colour such as #1c6b5f) and logo (path of a PNG or WebP file of at most 32 KB, relative to the file), both optional; what it lacks is cleared. \"none\" clears both." placeholder:"FILE"`
}

// Change translates the values; its error has every wrong one, joined.
func (v *Values) Change(actor string) (room.Change, error) {
	change := room.Change{
		Actor: actor, Burst: v.Burst, MaxActive: v.MaxActive, MaxWaiting: v.MaxWaiting,
		Claim: v.Claim, Pass: v.Pass, Notice: v.Notice, ShopURL: v.ShopURL,
	}
	var errs []error
	if v.Rate != nil {
		rate, err := room.ParseRate(*v.Rate)
		if err != nil {
			errs = append(errs, fmt.Errorf("--rate: %w", err))
		} else {
			change.Rate = &rate
		}
	}
	if v.OpensAt != nil {
		at, err := parseOpensAt(*v.OpensAt)
		if err != nil {
			errs = append(errs, err)
		} else {
			change.OpensAt = &at
		}
	}
	change.Event, errs = v.event(errs)
	return change, errors.Join(append(errs, change.Valid())...)
}

// event translates those of the event; what is wrong joins errs.
func (v *Values) event(errs []error) (room.EventChange, []error) {
	change := room.EventChange{Title: v.Title, Venue: v.Venue}
	if v.StartsAt != nil {
		at, err := parseTime("--starts-at", *v.StartsAt)
		if err != nil {
			errs = append(errs, err)
		} else {
			change.StartsAt = &at
		}
	}
	if v.Brand != nil {
		brand, err := room.Brand{}, error(nil)
		if *v.Brand != "none" {
			brand, err = readBrand(*v.Brand)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--brand %q: %w", *v.Brand, err))
		} else {
			change.Brand = &brand
		}
	}
	return change, errs
}

// Given says whether any value is.
func (v *Values) Given() bool { return *v != Values{} }

func parseOpensAt(s string) (time.Time, error) { return parseTime("--opens-at", s) }

// parseTime reads a time with its zone, to whole milliseconds as the line keeps
// it.
func parseTime(flag, s string) (time.Time, error) {
	if s == "never" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("%s %q: want a time such as 2026-11-21T18:00:00Z, or never", flag, s)
	}
	return at.Truncate(time.Millisecond), nil
}
