package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
)

// MaxNote is how many characters an operator may say to blocked seats: the column's width.
const MaxNote = 120

// Choice names seats of a room: some by name, or those of a section, of a category, or of
// both.
type Choice struct {
	Seats    []seat.ID
	Section  string // of its name, or of general admission
	Category string
}

// has reports whether a seat is of the section and the category.
func (c Choice) has(r planRow) bool {
	section, row, _ := strings.Cut(string(r.ID), "-")
	if !strings.Contains(row, "-") && !r.Unnumbered {
		section = "" // A-12 is in none
	}
	return (c.Section == "" || section == c.Section) && (c.Category == "" || r.Category == c.Category)
}

// Blocked is what became of the seats of a choice.
type Blocked struct {
	Asked   int         // seats of the choice
	Changed int         // that were free, or blocked, and are not any more
	Taken   []seat.Seat // held or booked ones, which stay so, by name
}

// Block takes free seats of a room from sale, with a note for who reads the report: they
// are neither left nor sold, and a hold of one is told that it is taken. Those that are
// blocked already keep their note. Held and booked seats are named in Taken, and then it is
// seat.ErrTaken and nothing is blocked, unless others says to block the others.
// seat.ErrUnknown: one of those named does not exist, or nothing is of that choice.
func (s *Store) Block(ctx context.Context, name room.Name, c Choice, note string, others bool) (Blocked, error) {
	return s.reblock(ctx, name, c, seat.Free, seat.Blocked, note, others)
}

// Unblock gives blocked seats back to sale; others of the choice stay as they are. The line
// hears at once of a room that had none left.
func (s *Store) Unblock(ctx context.Context, name room.Name, c Choice) (Blocked, error) {
	return s.reblock(ctx, name, c, seat.Blocked, seat.Free, "", true)
}

// reblock moves the seats of a choice from one state to another, in one transaction that
// locks them in the order of every other, and the counter last.
func (s *Store) reblock(ctx context.Context, name room.Name, c Choice, from, to seat.State, note string, others bool) (done Blocked, err error) {
	now, err := moments{s}.now(ctx)
	if err != nil {
		return Blocked{}, err
	}
	err = s.tx(ctx, func(tx *sqlx.Tx) error {
		done = Blocked{} // of a try before
		ids, err := s.chosen(ctx, tx, name, c)
		if err != nil {
			return err
		}
		done.Asked = len(ids)
		var move []seat.ID
		var unknown []seat.ID
		for chunk := range slices.Chunk(ids, seatRows) {
			found, err := s.lockSeats(ctx, tx, name, chunk)
			if err != nil {
				return err
			}
			for _, id := range chunk {
				r, there := found[id]
				switch {
				case !there:
					unknown = append(unknown, id)
				case r.State == from:
					move = append(move, id)
				case r.taken():
					done.Taken = append(done.Taken, seat.Seat{ID: id, State: r.State})
				}
			}
		}
		switch {
		case len(unknown) > 0:
			return fmt.Errorf("%w: %s", seat.ErrUnknown, someOf(unknown))
		case len(done.Taken) > 0 && !others:
			return seat.ErrTaken
		}
		for chunk := range slices.Chunk(move, seatRows) {
			if err := matched(ctx, tx, len(chunk), "UPDATE seats SET state = ?, note = ? WHERE room = ? AND id IN (?)", to, note, name, chunk); err != nil {
				return err
			}
			moved := make([]seat.Seat, len(chunk))
			for i, id := range chunk {
				moved[i] = seat.Seat{ID: id, State: to}
			}
			if err := seatmap.Log(ctx, tx, name, now, moved); err != nil {
				return err
			}
		}
		done.Changed = len(move)
		by := len(move)
		if to == seat.Blocked {
			by = -by
		}
		return s.recount(ctx, tx, name, by, now)
	})
	if err != nil && !errors.Is(err, seat.ErrTaken) {
		return Blocked{}, err
	}
	return done, err
}

// chosen are the names of a choice, in the order in which seats are locked.
func (s *Store) chosen(ctx context.Context, tx *sqlx.Tx, name room.Name, c Choice) (ids []seat.ID, err error) {
	if len(c.Seats) > 0 {
		ids = slices.Clone(c.Seats)
		slices.Sort(ids)
		return slices.Compact(ids), nil
	}
	var all []planRow
	if err := tx.SelectContext(ctx, &all, "SELECT "+planColumns+" FROM seats WHERE room = ?", name); err != nil {
		return nil, err
	}
	for _, r := range all {
		if c.has(r) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: none of section %q and category %q in %s", seat.ErrUnknown, c.Section, c.Category, name)
	}
	slices.Sort(ids)
	return ids, nil
}

// someNames is how many seats a text names.
const someNames = 20

// someOf names the first seats of a list, and how many more there are.
func someOf(ids []seat.ID) string {
	if len(ids) <= someNames {
		return joined(ids)
	}
	return fmt.Sprintf("%s and %d more", joined(ids[:someNames]), len(ids)-someNames)
}
