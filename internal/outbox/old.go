package outbox

import (
	"context"
	"encoding/json"
	"errors"
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

func (t *table) readOld(ctx context.Context, limit int, of []rows) ([]fact, error) {
	var found []struct {
		ID   int64  `db:"id"`
		Type string `db:"type"`
		Body string `db:"body"`
	}
	err := t.db.SelectContext(ctx, &found, "SELECT id, type, body FROM outbox WHERE id > 0"+of[0].where+" ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	list := make([]fact, len(found))
	for i, r := range found {
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

// carryOldOnes carries what an older booker left behind, while this process carries.
func (o *Outbox) carryOldOnes(ctx, work context.Context) {
	timer := time.NewTicker(oldEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !o.leading.Load() { // another one tells how it goes
			o.told.oldSQL.Over(work)
			o.told.oldKafka.Over(work)
		}
		for ctx.Err() == nil && o.leading.Load() {
			if n, err := o.carryOld(work); err != nil || n < oldRows {
				break
			}
		}
	}
}

// carryOld carries some of them, and notes what stands in the way.
func (o *Outbox) carryOld(ctx context.Context) (int, error) {
	list, err := o.old.read(ctx, oldRows, rows{})
	if err == nil {
		var part *carryError
		if len(list) > 0 {
			_, err = o.carry(ctx, o.old, list)
		}
		if errors.As(err, &part) && part.publishing != nil {
			o.met.unpublished.Inc()
			o.told.oldKafka.Note(ctx, part.publishing)
		} else { // well too when the older booker has carried them itself
			o.told.oldKafka.Note(ctx, nil)
		}
	}
	o.told.oldSQL.Note(ctx, deletingOf(err))
	return len(list), err
}
