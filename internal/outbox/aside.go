package outbox

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/sqldb"
)

// Rows of a lane that takes nothing are put there: column lane of their rows, which says
// so to every booker that carries.

// lanes are those that rows wait in, but the known ones, of which it gets the names in
// order. Each gap between two known ones is one look into the key, and each answer one
// of its lanes: who wants all asks again.
func (t *table) lanes(ctx context.Context, known []string) ([]lane, error) {
	query, args := selectLanes(t.db.Dialect, known)
	var names []string
	if err := t.db.SelectContext(ctx, &names, query, args...); err != nil {
		return nil, t.doubt(err)
	}
	var list []lane
	for _, name := range names {
		list = append(list, laneOf(name))
	}
	return list, nil
}

func selectLanes(d sqldb.Dialect, known []string) (query string, args []any) {
	var parts []string
	from := ""
	for i := range len(known) + 1 {
		where := "lane > ?"
		args = append(args, from)
		if i < len(known) {
			where += " AND lane < ?"
			args = append(args, known[i])
			from = known[i]
		}
		parts = append(parts, fmt.Sprintf("SELECT * FROM (SELECT lane FROM %s WHERE %s ORDER BY lane LIMIT 1) AS gap%d", byLane(d), where, i))
	}
	return strings.Join(parts, " UNION ALL "), args
}

// put puts facts of one lane into others, and returns those that stay. What somebody else
// has locked stays, and all of its key that is read behind it, or the lane would miss it
// and not them.
func (t *table) put(ctx context.Context, from lane, to map[lane][]fact) (stay []fact, err error) {
	ids := map[lane][]int64{}
	err = t.db.Tx(ctx, func(tx *sqlx.Tx) error {
		stay = nil
		clear(ids)
		free, err := t.lock(ctx, tx, from, to)
		if err != nil {
			return err
		}
		// The facts of a key are all of one lane, in their order.
		held := map[string]bool{}
		for l, list := range to {
			for _, f := range list {
				key := f.record.Topic + "/" + string(f.record.Key)
				if !free[f.id] || held[key] {
					held[key] = true
					stay = append(stay, f)
					continue
				}
				ids[l] = append(ids[l], f.id)
			}
		}
		for l, some := range ids {
			if _, err := tx.ExecContext(ctx, putByKey(t.db.Dialect, some), l.name()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, t.doubt(err)
	}
	return stay, nil
}

// lock locks the rows that still are in from, and says which. Lane is no condition of the
// statement, or the optimizer may read all of a lane for it.
func (t *table) lock(ctx context.Context, tx *sqlx.Tx, from lane, to map[lane][]fact) (map[int64]bool, error) {
	var ids []int64
	for _, list := range to {
		for _, f := range list {
			ids = append(ids, f.id)
		}
	}
	var found []struct {
		ID   int64  `db:"id"`
		Lane string `db:"lane"`
	}
	if err := tx.SelectContext(ctx, &found, laneByKey(t.db.Dialect, ids)); err != nil {
		return nil, err
	}
	free := map[int64]bool{}
	for _, row := range found {
		free[row.ID] = row.Lane == from.name()
	}
	return free, nil
}

func laneByKey(d sqldb.Dialect, ids []int64) string {
	if d == sqldb.SQLite { // the transaction is the only one that writes
		return "SELECT id, lane FROM facts WHERE id IN (" + joined(ids) + ")"
	}
	return "SELECT f.id, f.lane FROM " + byKey("facts", ids) + " FOR UPDATE SKIP LOCKED"
}

func putByKey(d sqldb.Dialect, ids []int64) string {
	if d == sqldb.SQLite {
		return "UPDATE facts SET lane = ? WHERE id IN (" + joined(ids) + ")"
	}
	return "UPDATE " + byKey("facts", ids) + " SET f.lane = ?"
}
