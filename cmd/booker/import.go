package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/venue"
)

// importCmd brings the seats of a room to a plan file.
type importCmd struct {
	Database      database `embed:""`
	Room          string   `arg:"" help:"Name of the room."`
	File          string   `arg:"" help:"The plan: CSV with a header of section,row,seat,category, or JSON."`
	Format        string   `help:"csv or json; without it, what the name of the file ends with." enum:",csv,json" default:""`
	Price         []string `help:"What a category of a CSV file costs, in the smallest unit of the currency, as A=1250; once for each category. 0: it costs nothing." placeholder:"CATEGORY=AMOUNT" sep:"none"`
	Currency      string   `help:"Currency of --price, as ISO 4217 has it: KRW, EUR."`
	RemoveMissing bool     `help:"Free seats that the file lacks go; without it they stay."`
	DryRun        bool     `help:"Only say what would be done."`
	New           bool     `help:"The room has no seats yet: without it a mistyped name is refused, and with it a room that has others."`
}

func (c *importCmd) format() string {
	if c.Format != "" {
		return c.Format
	}
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(c.File), "."))
}

// Check reports a bad name, an unknown format and bad prices together.
func (c *importCmd) Check() error {
	var errs []error
	if _, err := room.ParseName(c.Room); err != nil {
		errs = append(errs, fmt.Errorf("room %q: %w", c.Room, err))
	}
	switch c.format() {
	case "csv":
		_, err := venue.ParsePrices(c.Price, c.Currency)
		errs = append(errs, err)
	case "json":
		if len(c.Price) > 0 || c.Currency != "" {
			errs = append(errs, errors.New("--price, --currency: a JSON plan has its prices and its currency in it"))
		}
	default:
		errs = append(errs, fmt.Errorf("--format: %q ends with neither .csv nor .json", c.File))
	}
	return errors.Join(errs...)
}

// plan reads the file.
func (c *importCmd) plan() (*venue.Plan, error) {
	file, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if c.format() == "json" {
		return venue.ReadJSON(file)
	}
	prices, err := venue.ParsePrices(c.Price, c.Currency)
	if err != nil {
		return nil, err
	}
	return venue.ReadCSV(file, prices)
}

// Run imports the file, or says what is wrong with it, line by line.
func (c *importCmd) Run(ctx context.Context, env *process.Env) error {
	plan, err := c.plan()
	var faults *venue.Faults
	if errors.As(err, &faults) {
		errs := []error{fmt.Errorf("%s: nothing is imported", c.File)}
		return errors.Join(append(errs, faults.Unwrap()...)...)
	}
	if err != nil {
		return err
	}
	store, end, err := c.Database.openStore(ctx)
	if err != nil {
		return err
	}
	defer end()
	asked := make([]seat.ID, len(plan.Seats))
	for i, s := range plan.Seats {
		asked[i] = s.ID
	}
	if err := meant(ctx, store, room.Name(c.Room), c.New, asked); err != nil {
		return err
	}
	began := time.Now()
	done, err := store.Import(ctx, room.Name(c.Room), plan, booking.ImportHow{RemoveMissing: c.RemoveMissing, DryRun: c.DryRun})
	if err != nil {
		return err
	}
	how := fmt.Sprintf("in %.1f s", time.Since(began).Seconds())
	if c.DryRun {
		how = "if it were done now: nothing is changed"
	}
	fmt.Fprintf(env.Out, "room %s: %d seats of the plan, %s\n", c.Room, len(plan.Seats), how)
	for _, one := range []struct {
		n    int
		what string
	}{
		{done.Added, "added"}, {done.Changed, "with another category or price"}, {done.Same, "as they were"},
		{done.Kept, "held or booked with another category or price, which they keep"},
		{done.Removed, "removed, which the plan lacks"}, {done.Missing, "that the plan lacks, which stay"},
	} {
		if one.n > 0 {
			fmt.Fprintf(env.Out, "%8d %s\n", one.n, one.what)
		}
	}
	return nil
}
