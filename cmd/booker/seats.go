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
	Section  string   `help:"Section that the seats are in, such as N2: part of their names. Each section of a room is made by a call of its own."`
	Count    int      `help:"Seats that the room, or its section, shall have." required:""`
	PerRow   int      `help:"Seats in each row." default:"20"`
	Amount   int64    `help:"What each seat that is added costs, in the smallest unit of the currency: 1250 for EUR 12.50, 12500 for KRW 12,500. Holds and bookings say what their seats cost together. Seats that exist keep what they cost."`
	Currency string   `help:"Currency of --amount, as ISO 4217 has it: KRW, EUR. One for all seats of a room."`
	New      bool     `help:"The room has no seats yet: without it a mistyped name is refused, and with it a room that has others."`
}

// Check reports a bad name, bad numbers and a bad price together.
func (c *seatsCmd) Check() error {
	var errs []error
	if _, err := room.ParseName(c.Room); err != nil {
		errs = append(errs, fmt.Errorf("--room %q: %w", c.Room, err))
	}
	if _, err := seat.Generate(c.Count, c.PerRow); err != nil {
		errs = append(errs, fmt.Errorf("--count %d --per-row %d: %w", c.Count, c.PerRow, err))
	}
	if c.Section != "" {
		if _, err := seat.ParseID(c.Section + "-A-1"); err != nil {
			errs = append(errs, fmt.Errorf("--section %q: want 1 to 8 of A-Z and 0-9", c.Section))
		}
	}
	if err := c.price().Check(); err != nil {
		errs = append(errs, fmt.Errorf("--amount %d --currency %q: %w", c.Amount, c.Currency, err))
	}
	return errors.Join(errs...)
}

func (c *seatsCmd) price() seat.Price { return seat.Price{Amount: c.Amount, Currency: c.Currency} }

// Run adds the seats that are missing.
func (c *seatsCmd) Run(ctx context.Context, env *process.Env) error {
	start, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	db, err := c.Database.open(start)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := booking.NewStore(ctx, db, booking.Rules{})
	if err != nil {
		return fmt.Errorf("--db: %w", err)
	}
	seats, err := seat.Generate(c.Count, c.PerRow)
	if err != nil {
		return err
	}
	if c.Section != "" {
		for i, id := range seats {
			seats[i] = seat.ID(c.Section) + "-" + id
		}
	}
	if err := c.meant(ctx, store, seats); err != nil {
		return err
	}
	added, kept, err := store.AddPricedSeats(ctx, room.Name(c.Room), seats, c.price())
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "room %s: %d of %d seats added\n", c.Room, added, len(seats))
	if kept > 0 {
		fmt.Fprintf(env.Out, "room %s: %d of them exist with another amount, and keep it\n", c.Room, kept)
	}
	return nil
}

// meant refuses a room whose first seats these would be without --new, and a sale
// that goes on with it. It is a question to a person who types: two who type at
// once may both be let through, and AddSeats then adds each seat once.
func (c *seatsCmd) meant(ctx context.Context, store *booking.Store, asked []seat.ID) error {
	has, err := store.Seats(ctx, room.Name(c.Room))
	if errors.Is(err, seat.ErrNoRoom) {
		if c.New {
			return nil
		}
		rooms, err := store.Rooms(ctx)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("room %s has no seats yet: --new makes its first", c.Room)
		if near := room.Nearest(c.Room, rooms); len(near) > 0 {
			text += fmt.Sprintf("; or did you mean %s?", near[0])
		}
		return errors.New(text)
	}
	if err != nil || !c.New {
		return err
	}
	exists := make(map[seat.ID]bool, len(has))
	for _, s := range has {
		exists[s.ID] = true
	}
	for _, id := range asked {
		if !exists[id] {
			return fmt.Errorf("room %s has %d seats already: without --new the missing ones are added", c.Room, len(has))
		}
	}
	return nil // the same again, after an answer that was lost
}
