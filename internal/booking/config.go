package booking

import (
	"errors"
	"fmt"
	"time"

	"waitroom/internal/room"
)

// Config is the shop's flags.
type Config struct {
	Hold   time.Duration `help:"How long a visitor holds seats before buying them; never longer than the pass." default:"5m" env:"WAITROOM_HOLD"`
	Grace  time.Duration `help:"How long after that a purchase already under way is still accepted." default:"2s" env:"WAITROOM_GRACE"`
	Extend time.Duration `help:"How much longer a visitor may ask to hold seats, once per hold; 0: not at all." default:"2m" env:"WAITROOM_EXTEND"`
	Sweep  time.Duration `help:"How often holds whose time is over are looked for." default:"500ms" env:"WAITROOM_SWEEP"`
	Keep   time.Duration `help:"How long admissions and ended holds stay in the database; bookings stay for good." default:"720h" env:"WAITROOM_KEEP"`
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
	bound("extend", c.Extend, 0, room.MaxPass)
	bound("grace", c.Grace, 0, time.Minute)
	bound("sweep", c.Sweep, 10*time.Millisecond, time.Minute)
	bound("keep", c.Keep, minKeep, 10*365*24*time.Hour)
	return errors.Join(errs...)
}

// Rules are what of it the store enforces.
func (c Config) Rules() Rules { return Rules{Hold: c.Hold, Grace: c.Grace, Extend: c.Extend} }
