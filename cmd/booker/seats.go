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

// seatsCmd is what an operator does with the seats of a room.
type seatsCmd struct {
	Add     addCmd     `cmd:"" default:"withargs" help:"Add the seats of a room; those it has stay as they are. Its first ones ask for --new."`
	Import  importCmd  `cmd:"" help:"Bring the seats of a room to a plan file, all or nothing; those that are held or booked stay as they are."`
	Block   blockCmd   `cmd:"" help:"Take free seats of a room from sale: by name, or those of a section or a category."`
	Unblock unblockCmd `cmd:"" help:"Give blocked seats of a room back to sale."`
}

// openStore opens the database of a command that is no booker. The caller closes it.
func (d database) openStore(ctx context.Context) (store *booking.Store, end func(), err error) {
	start, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	db, err := d.open(start)
	if err != nil {
		return nil, nil, err
	}
	if store, err = booking.NewStore(ctx, db, booking.Rules{}); err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("--db: %w", err)
	}
	return store, func() { db.Close() }, nil
}

// addCmd makes the seats of a room.
type addCmd struct {
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
func (c *addCmd) Check() error {
	var errs []error
	if _, err := room.ParseName(c.Room); err != nil {
		errs = append(errs, fmt.Errorf("--room %q: %w", c.Room, err))
	}
	if _, err := seat.Generate(c.Count, c.PerRow); err != nil {
		errs = append(errs, fmt.Errorf("--count %d --per-row %d: %w", c.Count, c.PerRow, err))
	}
	errs = append(errs, checkSection(c.Section))
	if err := c.price().Check(); err != nil {
		errs = append(errs, fmt.Errorf("--amount %d --currency %q: %w", c.Amount, c.Currency, err))
	}
	return errors.Join(errs...)
}

func checkSection(section string) error {
	if section == "" {
		return nil
	}
	if _, err := seat.ParseID(section + "-A-1"); err != nil {
		return fmt.Errorf("--section %q: want 1 to 8 of A-Z and 0-9", section)
	}
	return nil
}

func (c *addCmd) price() seat.Price { return seat.Price{Amount: c.Amount, Currency: c.Currency} }

// Run adds the seats that are missing.
func (c *addCmd) Run(ctx context.Context, env *process.Env) error {
	store, end, err := c.Database.openStore(ctx)
	if err != nil {
		return err
	}
	defer end()
	seats, err := seat.Generate(c.Count, c.PerRow)
	if err != nil {
		return err
	}
	if c.Section != "" {
		for i, id := range seats {
			seats[i] = seat.ID(c.Section) + "-" + id
		}
	}
	if err := meant(ctx, store, room.Name(c.Room), c.New, seats); err != nil {
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
// once may both be let through, and the store then adds each seat once.
func meant(ctx context.Context, store *booking.Store, name room.Name, first bool, asked []seat.ID) error {
	has, err := store.Seats(ctx, name)
	if errors.Is(err, seat.ErrNoRoom) {
		if first {
			return nil
		}
		return noSeats(ctx, store, name, ": --new makes its first")
	}
	if err != nil || !first {
		return err
	}
	exists := make(map[seat.ID]bool, len(has))
	for _, s := range has {
		exists[s.ID] = true
	}
	for _, id := range asked {
		if !exists[id] {
			return fmt.Errorf("room %s has %d seats already: without --new the missing ones are added", name, len(has))
		}
	}
	return nil // the same again, after an answer that was lost
}

// noSeats says that a room has none, and which one may be meant.
func noSeats(ctx context.Context, store *booking.Store, name room.Name, hint string) error {
	rooms, err := store.Rooms(ctx)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("room %s has no seats yet%s", name, hint)
	if near := room.Nearest(string(name), rooms); len(near) > 0 {
		text += fmt.Sprintf("; or did you mean %s?", near[0])
	}
	return errors.New(text)
}
