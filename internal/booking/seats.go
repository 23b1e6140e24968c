package booking

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// seatRows is how many seats one INSERT holds at most: about 30 KB of SQL.
const seatRows = 500

// AddSeats adds those of the seats that the room lacks, and says how many. Seats
// that exist stay as they are, so a repeat adds nothing. Its counter grows in the
// same transaction: a room that was sold out has seats again, and whoever books
// the last of them writes sold_out anew.
func (s *Store) AddSeats(ctx context.Context, name room.Name, seats []seat.ID) (added int, err error) {
	_, err = s.db.Write(ctx, "INSERT INTO stock (room, seats, booked) VALUES (?, 0, 0)", name)
	if err != nil && !sqldb.IsDuplicate(err) {
		return 0, err
	}
	err = s.db.Tx(ctx, func(tx *sqlx.Tx) error {
		// The counter's row makes one of two who add at once wait. Confirms wait
		// too; seats are added rarely and in one go.
		if err := change(ctx, tx, 1, "UPDATE stock SET seats = seats WHERE room = ?", name); err != nil {
			return broken(err, "a room without its counter")
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
		return change(ctx, tx, 1, "UPDATE stock SET seats = seats + ? WHERE room = ?", added, name)
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
	slices.SortFunc(seats, func(a, b seat.Seat) int { return inOrder(a.ID, b.ID) })
	return seats, nil
}

// inOrder sorts, B-1, …, AA-1: the shorter row first, then by
// letters, then by number.
func inOrder(a, b seat.ID) int {
	rowA, numberA, _ := strings.Cut(string(a), "-")
	rowB, numberB, _ := strings.Cut(string(b), "-")
	return cmp.Or(
		cmp.Compare(len(rowA), len(rowB)), cmp.Compare(rowA, rowB),
		cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB))
}

// purgeRows is how many rows one purge step deletes of each table.
const purgeRows = 500

// Purge deletes admissions made and holds ended before a moment, at most
// purgeRows each, and says how many. Bookings stay. The moment must be further
// back than the longest pass lasts, or a spent pass would open the shop again.
func (s *Store) Purge(ctx context.Context, before time.Time) (deleted int64, err error) {
	ms := before.UnixMilli()
	n, err := s.purge(ctx, "admissions", "hold = ''", "SELECT id FROM admissions WHERE created_ms < ? AND hold = '' ORDER BY created_ms LIMIT ?", ms, purgeRows)
	deleted += n
	for _, state := range []string{confirmed, released, expired} {
		if err != nil {
			break
		}
		n, err = s.purge(ctx, "holds", "ended_ms > 0", "SELECT id FROM holds WHERE state = ? AND ended_ms < ? ORDER BY ended_ms LIMIT ?", state, ms, purgeRows)
		deleted += n
	}
	return deleted, err
}

// purge reads the ids first, since SQLite's DELETE has no LIMIT; the condition
// is asked again by the DELETE.
func (s *Store) purge(ctx context.Context, table, still, query string, args ...any) (int64, error) {
	var ids []string
	if err := s.db.SelectContext(ctx, &ids, query, args...); err != nil || len(ids) == 0 {
		return 0, err
	}
	query, args, err := sqlx.In("DELETE FROM "+table+" WHERE id IN (?) AND "+still, ids)
	if err != nil {
		return 0, err
	}
	return s.db.Write(ctx, query, args...)
}
