package booking

import (
	"errors"
	"fmt"
	"time"

	"waitroom/internal/room"
)

// Config is the shop's flags.
type Config struct {
	Hold     time.Duration `help:"How long a visitor holds seats before buying them; never longer than the pass." default:"5m" env:"WAITROOM_HOLD"`
	Grace    time.Duration `help:"How long after that a purchase already under way is still accepted." default:"2s" env:"WAITROOM_GRACE"`
	MaxSeats int           `help:"Seats that one visitor may hold and buy." default:"6" env:"WAITROOM_MAX_SEATS"`
	Sweep    time.Duration `help:"How often holds whose time is over are looked for." default:"500ms" env:"WAITROOM_SWEEP"`
	Keep     time.Duration `help:"How long admissions and ended holds stay in the database; bookings stay for good." default:"720h" env:"WAITROOM_KEEP"`
	MaxCalls int           `help:"Requests served at once; further ones are told to come back in a second." default:"256" env:"WAITROOM_MAX_CALLS"`
}

// minKeep is longer than any pass lasts: a spent pass whose admission is
// forgotten would open the shop again.
const minKeep = room.MaxPass + 24*time.Hour

// Check reports every value out of bounds, joined.
func (c Config) Check() error {
	var errs []error
	bound := func(flag string, got, lo, hi time.Duration) {
		if got < lo || got > hi {
			errs = append(errs, fmt.Errorf("--%s %s: want %s to %s", flag, got, lo, hi))
		}
	}
	bound("hold", c.Hold, time.Second, room.MaxPass)
	bound("grace", c.Grace, 0, time.Minute)
	bound("sweep", c.Sweep, 10*time.Millisecond, time.Minute)
	bound("keep", c.Keep, minKeep, 10*365*24*time.Hour)
	if c.MaxSeats < 1 || c.MaxSeats > 50 { // 50 names fit the column of a hold
		errs = append(errs, fmt.Errorf("--max-seats %d: want 1 to 50", c.MaxSeats))
	}
	if c.MaxCalls < 1 || c.MaxCalls > 100_000 {
		errs = append(errs, fmt.Errorf("--max-calls %d: want 1 to 100000", c.MaxCalls))
	}
	return errors.Join(errs...)
}

// Rules are what of it the store enforces.
func (c Config) Rules() Rules { return Rules{Hold: c.Hold, Grace: c.Grace} }
