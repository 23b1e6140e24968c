package booking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
)

// seatRows is how many seats one INSERT holds at most: about 40 KB of SQL.
const seatRows = 500

// AddSeats adds those of the seats that the room lacks, which cost nothing, and says how
// many; see AddPricedSeats.
func (s *Store) AddSeats(ctx context.Context, name room.Name, seats []seat.ID) (added int, err error) {
	added, _, err = s.AddPricedSeats(ctx, name, seats, seat.Price{})
	return added, err
}

// AddPricedSeats adds those of the seats that the room lacks, each at that price, and says
// how many. Seats that exist stay as they are, so a repeat adds nothing; kept is how many of
// them cost something else. seat.ErrPrice: it is none; seat.ErrCurrency: the room has seats
// that cost another currency. Its counter grows in the same transaction: a room that was
// sold out has seats again, which the line is told at once, and whoever books the last of
// them says so anew. It is dated by the bookers' clock, since it runs beside them.
func (s *Store) AddPricedSeats(ctx context.Context, name room.Name, seats []seat.ID, price seat.Price) (added, kept int, err error) {
	if err := price.Check(); err != nil {
		return 0, 0, err
	}
	_, err = s.db.Write(ctx, s.insertNew()+" INTO stock (room, seats, booked) VALUES (?, 0, 0)", name)
	if err != nil {
		return 0, 0, err
	}
	now, err := moments{s}.now(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = s.tx(ctx, func(tx *sqlx.Tx) error {
		// The counter's row makes one of two who add at once wait. Confirms wait
		// too; seats are added rarely and in one go.
		if err := change(ctx, tx, "UPDATE stock SET seats = seats WHERE room = ?", name); err != nil {
			return err
		}
		var before stockRow
		if err := tx.GetContext(ctx, &before, "SELECT "+stockColumns+" FROM stock WHERE room = ?", name); err != nil {
			return err
		}
		var have []struct {
			ID seat.ID `db:"id"`
			seat.Price
		}
		if err := tx.SelectContext(ctx, &have, "SELECT id, amount, currency FROM seats WHERE room = ?", name); err != nil {
			return err
		}
		exists := make(map[seat.ID]seat.Price, len(have)) // at most seat.MaxPerRoom
		var currency string                               // that the room has already
		for _, h := range have {
			exists[h.ID] = h.Price
			currency = cmp.Or(currency, h.Currency)
		}
		missing := slices.Clone(seats)
		slices.Sort(missing)
		missing = slices.Compact(missing)
		kept = 0 // of a try before
		missing = slices.DeleteFunc(missing, func(id seat.ID) bool {
			has, there := exists[id]
			if there && has != price {
				kept++
			}
			return there
		})
		if len(missing) > 0 && price.Currency != "" && cmp.Or(currency, price.Currency) != price.Currency {
			return fmt.Errorf("%w: those of %s cost %s", seat.ErrCurrency, name, currency)
		}
		if len(have)+len(missing) > seat.MaxPerRoom {
			return errors.New("seats: a room has at most " + strconv.Itoa(seat.MaxPerRoom))
		}
		for chunk := range slices.Chunk(missing, seatRows) {
			args := make([]any, 0, 4*len(chunk))
			for _, id := range chunk {
				args = append(args, name, id, price.Amount, price.Currency)
			}
			values := strings.Repeat(", (?, ?, 'free', '', ?, ?)", len(chunk))[2:]
			if _, err := tx.ExecContext(ctx, "INSERT INTO seats (room, id, state, hold, amount, currency) VALUES "+values, args...); err != nil {
				return err
			}
		}
		added = len(missing)
		if added == 0 {
			return nil
		}
		// One of them has the map of the room read whole, which shows them all.
		if err := seatmap.Log(ctx, tx, name, now, []seat.Seat{{ID: missing[0], State: seat.Free}}); err != nil {
			return err
		}
		if err := change(ctx, tx, "UPDATE stock SET seats = seats + ?, rev = rev + 1, plan = plan + 1 WHERE room = ?", added, name); err != nil {
			return err
		}
		epoch := s.rules.epoch(name, before.Epoch)
		if before.left() > 0 || epoch == "" {
			return nil // the loop tells
		}
		after := before
		after.Seats, after.Rev = before.Seats+int64(added), before.Rev+1
		fact, err := s.tellStock(ctx, tx, after, epoch, now)
		if err != nil {
			return err
		}
		return outbox.Add(ctx, tx, fact)
	})
	return added, kept, err
}

// Rooms names the rooms that have seats, in order, room.MaxRooms at most: what an
// operator may have meant. Whether one has seats is Seats' to say.
func (s *Store) Rooms(ctx context.Context) (names []room.Name, err error) {
	err = s.db.SelectContext(ctx, &names, "SELECT room FROM stock WHERE seats > 0 ORDER BY room LIMIT ?", room.MaxRooms)
	return names, err
}

// Seats reads every seat of a room, with what its plan says of it, in the order of rows and
// numbers; seat.ErrNoRoom when there are none.
func (s *Store) Seats(ctx context.Context, name room.Name) ([]seat.Seat, error) {
	var rows []planRow
	if err := s.db.SelectContext(ctx, &rows, "SELECT "+planColumns+" FROM seats WHERE room = ?", name); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, seat.ErrNoRoom
	}
	seats := make([]seat.Seat, len(rows))
	for i, r := range rows {
		seats[i] = seat.Seat{ID: r.ID, State: r.State, Category: r.Category, Unnumbered: r.Unnumbered, Price: r.Price}
	}
	slices.SortFunc(seats, func(a, b seat.Seat) int { return seat.Compare(a.ID, b.ID) })
	return seats, nil
}

// planRow is a seat with what its plan says of it.
type planRow struct {
	ID         seat.ID    `db:"id"`
	State      seat.State `db:"state"`
	Category   string     `db:"category"`
	Unnumbered bool       `db:"unnumbered"`
	seat.Price
}

const planColumns = "id, state, category, amount, currency, unnumbered"

// taken reports whether somebody has it: then it stays as it is.
func (r planRow) taken() bool { return r.State != seat.Free && r.State != seat.Blocked }

// lockSeats locks those of some seats that nobody has, in the order of their names, and
// reads all of them; nobody can hold any of the locked ones until the transaction ends. It
// waits for who is about to. A seat that somebody has is its hold's: locked here, it would
// keep its buyer's confirm waiting, and with it everybody's in that batch. One that comes
// free just now counts as taken.
func (s *Store) lockSeats(ctx context.Context, tx *sqlx.Tx, name room.Name, ids []seat.ID) (map[seat.ID]planRow, error) {
	found := make(map[seat.ID]planRow, len(ids))
	read := func(query string, args ...any) (list []planRow, err error) {
		query, args, err = sqlx.In(query, args...)
		if err == nil {
			err = tx.SelectContext(ctx, &list, query, args...)
		}
		return list, err
	}
	list, err := read("SELECT "+planColumns+" FROM seats WHERE room = ? AND id IN (?) AND state IN ('free', 'blocked') ORDER BY id"+s.db.ForUpdate(false), name, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		found[r.ID] = r
	}
	if len(found) == len(ids) {
		return found, nil
	}
	list, err = read("SELECT "+planColumns+" FROM seats WHERE room = ? AND id IN (?)", name,
		slices.DeleteFunc(slices.Clone(ids), func(id seat.ID) bool { _, is := found[id]; return is }))
	for _, r := range list {
		if !r.taken() {
			r.State = seat.Held
		}
		found[r.ID] = r
	}
	return found, err
}

// matched runs a statement that must match n rows, which are locked; lists among args
// become IN lists.
func matched(ctx context.Context, tx *sqlx.Tx, n int, query string, args ...any) error {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	got, err := result.RowsAffected()
	if err == nil && got != int64(n) {
		return broken("%d of %d locked rows are as they were read", got, n)
	}
	return err
}
