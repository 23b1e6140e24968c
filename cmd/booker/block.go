package main

import (
	"context"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"waitroom/internal/booking"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// choice is which seats of a room are meant.
type choice struct {
	Database database `embed:""`
	Room     string   `arg:"" help:"Name of the room."`
	Seats    []string `arg:"" optional:"" help:"Seats by name, such as A-12 or N2-A-12."`
	Section  string   `help:"All seats of a section, or of general admission by its name."`
	Category string   `help:"All seats of a category; with --section, those of both."`
}

// Check reports everything that is wrong with the names.
func (c *choice) Check() error {
	var errs []error
	if _, err := room.ParseName(c.Room); err != nil {
		errs = append(errs, fmt.Errorf("room %q: %w", c.Room, err))
	}
	for _, text := range c.Seats {
		if _, err := seat.ParseID(text); err != nil {
			errs = append(errs, fmt.Errorf("seat %q: %w", text, err))
		}
	}
	errs = append(errs, checkSection(c.Section))
	if whole := c.Section != "" || c.Category != ""; whole == (len(c.Seats) > 0) {
		errs = append(errs, errors.New("want seats by name, or --section or --category"))
	}
	if len(c.Seats) > seat.MaxPerRoom {
		errs = append(errs, fmt.Errorf("want at most %d seats", seat.MaxPerRoom))
	}
	return errors.Join(errs...)
}

func (c *choice) choice() booking.Choice {
	seats := make([]seat.ID, len(c.Seats))
	for i, text := range c.Seats {
		seats[i] = seat.ID(text)
	}
	return booking.Choice{Seats: seats, Section: c.Section, Category: c.Category}
}

// blockCmd takes seats from sale.
type blockCmd struct {
	Choice choice `embed:""`
	Note   string `help:"Why, for who reads the report."`
	Others bool   `help:"Held and booked seats stay as they are, and the others are blocked; without it nothing is."`
}

// Check reports a note that does not fit.
func (c *blockCmd) Check() error {
	for _, r := range c.Note {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return errors.New("--note: want text without control characters")
		}
	}
	if utf8.RuneCountInString(c.Note) > booking.MaxNote {
		return fmt.Errorf("--note: want at most %d characters", booking.MaxNote)
	}
	return nil
}

// Run blocks the seats.
func (c *blockCmd) Run(ctx context.Context, env *process.Env) error {
	store, end, err := c.Choice.Database.openStore(ctx)
	if err != nil {
		return err
	}
	defer end()
	done, err := store.Block(ctx, room.Name(c.Choice.Room), c.Choice.choice(), c.Note, c.Others)
	if errors.Is(err, seat.ErrTaken) {
		return fmt.Errorf("room %s: nothing is blocked, %d of %d seats are held or booked (--others blocks the others): %s",
			c.Choice.Room, len(done.Taken), done.Asked, taken(done.Taken))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "room %s: %d of %d seats blocked\n", c.Choice.Room, done.Changed, done.Asked)
	if n := len(done.Taken); n > 0 {
		fmt.Fprintf(env.Out, "room %s: %d of them are held or booked, and stay so: %s\n", c.Choice.Room, n, taken(done.Taken))
	}
	return nil
}

// unblockCmd gives seats back to sale.
type unblockCmd struct {
	Choice choice `embed:""`
}

// Run unblocks the seats.
func (c *unblockCmd) Run(ctx context.Context, env *process.Env) error {
	store, end, err := c.Choice.Database.openStore(ctx)
	if err != nil {
		return err
	}
	defer end()
	done, err := store.Unblock(ctx, room.Name(c.Choice.Room), c.Choice.choice())
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "room %s: %d of %d seats are for sale again\n", c.Choice.Room, done.Changed, done.Asked)
	return nil
}

// takenMost is how many seats are named in one line.
const takenMost = 20

func taken(seats []seat.Seat) (text string) {
	for i, s := range seats[:min(len(seats), takenMost)] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s (%s)", s.ID, s.State)
	}
	if more := len(seats) - takenMost; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
