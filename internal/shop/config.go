package shop

import (
	"errors"
	"fmt"
)

// Config is the edge's flags.
type Config struct {
	MaxSeats int `help:"Seats that one visitor may hold and buy." default:"6" env:"WAITROOM_MAX_SEATS"`
	MaxCalls int `help:"Requests served at once; further ones are told to come back in a second." default:"256" env:"WAITROOM_MAX_CALLS"`
}

// Check reports every value out of bounds, joined.
func (c Config) Check() error {
	var errs []error
	if c.MaxSeats < 1 || c.MaxSeats > 50 { // 50 names fit the column of a hold
		errs = append(errs, fmt.Errorf("--max-seats %d: want 1 to 50", c.MaxSeats))
	}
	if c.MaxCalls < 1 || c.MaxCalls > 100_000 {
		errs = append(errs, fmt.Errorf("--max-calls %d: want 1 to 100000", c.MaxCalls))
	}
	return errors.Join(errs...)
}
