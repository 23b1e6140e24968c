package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"waitroom/internal/booking"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// reportCmd says what a room has sold.
type reportCmd struct {
	Database database `embed:""`
	Room     string   `arg:"" help:"Name of the room."`
	Format   string   `help:"text, json or csv." enum:"text,json,csv" default:"text"`
}

// Check reports a bad name.
func (c *reportCmd) Check() error {
	if _, err := room.ParseName(c.Room); err != nil {
		return fmt.Errorf("room %q: %w", c.Room, err)
	}
	return nil
}

// Run prints the report as of one moment.
func (c *reportCmd) Run(ctx context.Context, env *process.Env) error {
	store, end, err := c.Database.openStore(ctx)
	if err != nil {
		return err
	}
	defer end()
	r, err := store.Report(ctx, room.Name(c.Room))
	if errors.Is(err, seat.ErrNoRoom) {
		return noSeats(ctx, store, room.Name(c.Room), "")
	}
	if err != nil {
		return err
	}
	switch c.Format {
	case "json":
		out := json.NewEncoder(env.Out)
		out.SetIndent("", "  ")
		return out.Encode(r)
	case "csv":
		return reportCSV(env.Out, r)
	}
	return reportText(env.Out, r)
}

// reportText prints for a person.
func reportText(w io.Writer, r booking.Report) error {
	wide := len("category")
	for _, c := range r.Categories {
		wide = max(wide, len(c.Category)) // letters of ASCII
	}
	var b strings.Builder
	line := func(name string, s booking.SeatCount, money string) {
		fmt.Fprintf(&b, "%-*s %8d %8d %8d %8d %8d%s\n", wide, name, s.Total, s.Free, s.Held, s.Blocked, s.Booked, money)
	}
	fmt.Fprintf(&b, "%-*s %8s %8s %8s %8s %8s %14s %14s %14s\n", wide, "category", "total", "free", "held", "blocked", "booked", "money", "captured", "open")
	for _, c := range r.Categories {
		name, money := c.Category, ""
		if name == "" {
			name = "(none)"
		}
		if c.Currency != "" {
			money = fmt.Sprintf(" %14d %14d %14d %s", c.Money.Booked, c.Money.Captured, c.Money.Open, c.Currency)
		}
		line(name, c.Seats, money)
	}
	line("all", r.Seats, "")
	for _, m := range r.Money {
		fmt.Fprintf(&b, "%s, in its smallest unit: %d booked, %d captured, %d open\n", m.Currency, m.Money.Booked, m.Money.Captured, m.Money.Open)
		if m.Bookings != m.Money.Booked {
			fmt.Fprintf(&b, "%s: the bookings themselves say %d: some were made by an older booker, which knew no price, or a row was changed by hand\n", m.Currency, m.Bookings)
		}
	}
	for _, n := range r.Blocked {
		if n.Note != "" {
			fmt.Fprintf(&b, "%d blocked: %s\n", n.Seats, n.Note)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reportCSV prints for a table: a line for each category and currency.
func reportCSV(w io.Writer, r booking.Report) error {
	out := csv.NewWriter(w)
	lines := [][]string{{"category", "currency", "total", "free", "held", "blocked", "booked", "money_booked", "money_captured", "money_open"}}
	for _, c := range r.Categories {
		line := []string{cell(c.Category), cell(c.Currency)}
		for _, n := range []int{c.Seats.Total, c.Seats.Free, c.Seats.Held, c.Seats.Blocked, c.Seats.Booked} {
			line = append(line, strconv.Itoa(n))
		}
		for _, n := range []int64{c.Money.Booked, c.Money.Captured, c.Money.Open} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		lines = append(lines, line)
	}
	return out.WriteAll(lines)
}

// cell is a text that no table takes for a formula, whoever wrote it into the database.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
