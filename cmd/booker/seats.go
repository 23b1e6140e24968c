package main

import (
	"context"
	"errors"
	"fmt"

	"waitroom/internal/booking"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// seatsCmd makes the seats of a room.
type seatsCmd struct {
	Database database `embed:""`
	Room     string   `help:"Name of the room." required:""`
	Count    int      `help:"Seats that the room shall have." required:""`
	PerRow   int      `help:"Seats in each row." default:"20"`
}

// Check reports a bad name and bad numbers together.
func (c *seatsCmd) Check() error {
	var errs []error
	if _, err := room.ParseName(c.Room); err != nil {
		errs = append(errs, fmt.Errorf("--room %q: %w", c.Room, err))
	}
	if _, err := seat.Generate(c.Count, c.PerRow); err != nil {
		errs = append(errs, fmt.Errorf("--count %d --per-row %d: %w", c.Count, c.PerRow, err))
	}
	return errors.Join(errs...)
}

// Run adds the seats that are missing.
func (c *seatsCmd) Run(ctx context.Context, env *process.Env) error {
	start, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	db, err := c.Database.open(start)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := booking.NewStore(start, db, booking.Rules{})
	if err != nil {
		return fmt.Errorf("--db: %w", err)
	}
	seats, err := seat.Generate(c.Count, c.PerRow)
	if err != nil {
		return err
	}
	added, err := store.AddSeats(ctx, room.Name(c.Room), seats)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "room %s: %d of %d seats added\n", c.Room, added, len(seats))
	return nil
}
