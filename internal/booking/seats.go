package booking

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// seatRows is how many seats one INSERT holds at most: about 30 KB of SQL.
const seatRows = 500

// AddSeats adds those of the seats that the room lacks, and says how many. Seats
// that exist stay as they are, so a repeat adds nothing. Its counter grows in the
// same transaction: a room that was sold out has seats again, which the line is told at
// once, and whoever books the last of them says so anew.
func (s *Store) AddSeats(ctx context.Context, name room.Name, seats []seat.ID) (added int, err error) {
	_, err = s.db.Write(ctx, s.insertNew()+" INTO stock (room, seats, booked) VALUES (?, 0, 0)", name)
	if err != nil {
		return 0, err
	}
	now := time.Now()
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
		var have []seat.ID
		if err := tx.SelectContext(ctx, &have, "SELECT id FROM seats WHERE room = ?", name); err != nil {
			return err
		}
		exists := make(map[seat.ID]bool, len(have)) // at most seat.MaxPerRoom
		for _, id := range have {
			exists[id] = true
		}
		missing := slices.DeleteFunc(slices.Clone(seats), func(id seat.ID) bool { return exists[id] })
		slices.Sort(missing)
		missing = slices.Compact(missing)
		if len(have)+len(missing) > seat.MaxPerRoom {
			return errors.New("seats: a room has at most " + strconv.Itoa(seat.MaxPerRoom))
		}
		for chunk := range slices.Chunk(missing, seatRows) {
			args := make([]any, 0, 2*len(chunk))
			for _, id := range chunk {
				args = append(args, name, id)
			}
			values := strings.Repeat(", (?, ?, 'free', '')", len(chunk))[2:]
			if _, err := tx.ExecContext(ctx, "INSERT INTO seats (room, id, state, hold) VALUES "+values, args...); err != nil {
				return err
			}
		}
		added = len(missing)
		if added == 0 {
			return nil
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
	return added, err
}

// Rooms names the rooms that have seats, in order, room.MaxRooms at most: what an
// operator may have meant. Whether one has seats is Seats' to say.
func (s *Store) Rooms(ctx context.Context) (names []room.Name, err error) {
	err = s.db.SelectContext(ctx, &names, "SELECT room FROM stock WHERE seats > 0 ORDER BY room LIMIT ?", room.MaxRooms)
	return names, err
}

// Seats reads every seat of a room in the order of rows and numbers;
// seat.ErrNoRoom when there are none.
func (s *Store) Seats(ctx context.Context, name room.Name) ([]seat.Seat, error) {
	var rows []struct {
		ID    seat.ID    `db:"id"`
		State seat.State `db:"state"`
	}
	if err := s.db.SelectContext(ctx, &rows, "SELECT id, state FROM seats WHERE room = ?", name); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, seat.ErrNoRoom
	}
	seats := make([]seat.Seat, len(rows))
	for i, r := range rows {
		seats[i] = seat.Seat{ID: r.ID, State: r.State}
	}
	slices.SortFunc(seats, func(a, b seat.Seat) int { return seat.Compare(a.ID, b.ID) })
	return seats, nil
}
