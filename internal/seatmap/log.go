package seatmap

import (
	"context"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// rowSize is what one row of the log holds, in bytes: the column's width.
const rowSize = 8000

// Log writes into the log of the map what a transaction changes of a room's seats,
// in the order in which it changes them. The transaction has to hold the rows of
// these seats already: then of two rows of the log that name the same seat the one
// with the greater id is the later, whatever the order of the commits. It has to be
// committed within sqldb.CommitWait, or a map may lack it for repairEvery. A seat that
// the map does not know, such as a new one, has the room read anew.
func Log(ctx context.Context, tx *sqlx.Tx, name room.Name, at time.Time, changes []seat.Seat) error {
	if len(changes) == 0 {
		return nil
	}
	var args []any
	for _, row := range rowsOf(changes) {
		args = append(args, name, at.UnixMilli(), row)
	}
	values := strings.Repeat(", (?, ?, ?)", len(args)/3)[2:]
	_, err := tx.ExecContext(ctx, "INSERT INTO seat_log (room, at_ms, changes) VALUES "+values, args...)
	return err
}

// rowsOf writes changes as rows of the log, as few as hold them.
func rowsOf(changes []seat.Seat) (rows []string) {
	var b strings.Builder
	for _, c := range changes {
		size := len(c.ID) + 1 + len(c.State)
		if b.Len() > 0 && b.Len()+1+size > rowSize {
			rows = append(rows, b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(c.ID))
		b.WriteByte('=')
		b.WriteString(string(c.State))
	}
	return append(rows, b.String())
}

// each calls do for every change of a row. What is not a change is passed over: a
// newer booker may write more.
func each(row string, do func(seat.ID, state)) {
	for one := range strings.SplitSeq(row, ",") {
		if id, word, ok := strings.Cut(one, "="); ok {
			do(seat.ID(id), stateOf(seat.State(word)))
		}
	}
}

// planChanged stands for a seat where the plan of a room changed and no seat's state did:
// no plan has it, so that every booker, an older one too, reads the room anew.
const planChanged = seat.ID("*")

// LogPlan has every map of a room read anew: its seats, categories or prices are others.
func LogPlan(ctx context.Context, tx *sqlx.Tx, name room.Name, at time.Time) error {
	return Log(ctx, tx, name, at, []seat.Seat{{ID: planChanged, State: "changed"}})
}
