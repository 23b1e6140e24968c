package outbox

import (
	"context"
	"encoding/json"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
)

// The table of bookers one version older, which know no other. They carry it
// themselves; what they leave behind when they end is carried here.
const (
	// oldEvery is how soon that is.
	oldEvery = time.Second
	// oldRows are carried at once.
	oldRows = 1000
)

func newOldTable(db *sqldb.DB) *table {
	t := &table{db: db, name: "outbox", gone: map[int64]bool{}, later: map[int64]bool{}}
	t.rows = t.readOld
	return t
}

func (t *table) readOld(ctx context.Context, where string, limit int) ([]fact, error) {
	var rows []struct {
		ID   int64  `db:"id"`
		Type string `db:"type"`
		Body string `db:"body"`
	}
	err := t.db.SelectContext(ctx, &rows, "SELECT id, type, body FROM outbox WHERE id > 0"+where+" ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	list := make([]fact, len(rows))
	for i, r := range rows {
		var b events.Booking
		if err := json.Unmarshal([]byte(r.Body), &b); err != nil {
			list[i] = broken("outbox", r.ID, nil, []byte(r.Body), err)
			continue
		}
		b.Type = r.Type
		list[i] = fact{id: r.ID, record: events.EncodeBooking(b)}
		list[i].record.Value = []byte(r.Body) // as it was written, fields that are not known here too
	}
	return list, nil
}
