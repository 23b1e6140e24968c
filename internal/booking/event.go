package booking

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/sqldb"
)

const (
	// eventsEvery is the mean gap between two looks at the versions of all events;
	// with its spread of half, a page is 0.9 s old at most.
	eventsEvery = 600 * time.Millisecond
	// eventRooms bounds the events kept in memory, 32 MB when each has the largest
	// logo. Rooms that are gone are the first to be left out; a page of a room that
	// is left out shows its name.
	eventRooms = room.MaxRooms
	// pastLines is how many earlier lines of a room are known: a pass of one before those
	// ran out long ago.
	pastLines = 8
)

// Describe keeps what a room's sale is for, unless what is there is newer: of a line
// made later, or of the same with a greater rev. A repeat is written again: that
// takes back a tombstone that another admitter sent too late, and where Redis lost
// a change and its rev was given to another one, the one told last counts.
func (s *Store) Describe(ctx context.Context, d events.Described) error {
	e := d.Event()
	logo := e.Brand.Logo
	if logo == nil {
		logo = []byte{} // the column is never null
	}
	startsMS := int64(0)
	if !e.StartsAt.IsZero() {
		startsMS = e.StartsAt.UnixMilli()
	}
	// One transaction, so that no purge comes between the two.
	return s.db.Tx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO room_events (room, epoch, created_ms, rev, gone_ms, told, title, venue, starts_ms, accent, logo)
			VALUES (?, ?, ?, ?, 0, 1, ?, ?, ?, ?, ?)`, d.Room, d.Epoch, d.CreatedMS, d.Rev, e.Title, e.Venue, startsMS, e.Brand.Accent, logo)
		if !sqldb.IsDuplicate(err) {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE room_events SET past = CASE WHEN epoch <> ? THEN SUBSTR(CONCAT(epoch, ',', past), 1, ?) ELSE past END, epoch = ?, created_ms = ?, rev = ?, gone_ms = 0, told = told + 1, title = ?, venue = ?, starts_ms = ?, accent = ?, logo = ?
			WHERE room = ? AND (created_ms < ? OR (created_ms = ? AND rev <= ?))`,
			d.Epoch, pastLines*(len(d.Epoch)+1), d.Epoch, d.CreatedMS, d.Rev, e.Title, e.Venue, startsMS, e.Brand.Accent, logo, d.Room, d.CreatedMS, d.CreatedMS, d.Rev)
		return err
	})
}

// Gone notes that a room was deleted. Its event stays until purged: who was let in
// may still be in the shop.
func (s *Store) Gone(ctx context.Context, name room.Name, now time.Time) error {
	_, err := s.db.Write(ctx, "UPDATE room_events SET gone_ms = ? WHERE room = ? AND gone_ms = 0", now.UnixMilli(), name)
	return err
}

// eventVersion tells one event of a room from another.
type eventVersion struct {
	Room      room.Name  `db:"room"`
	Epoch     room.Epoch `db:"epoch"`
	CreatedMS int64      `db:"created_ms"`
	Rev       int64      `db:"rev"`
	Told      int64      `db:"told"`
	GoneMS    int64      `db:"gone_ms"`
	Past      string     `db:"past"` // the epochs of the room's earlier lines, pastLines at most, the last one first
}

// eventVersions reads those of eventRooms rooms, the ones that are gone last.
func (s *Store) eventVersions(ctx context.Context) (versions []eventVersion, err error) {
	err = s.db.SelectContext(ctx, &versions, "SELECT room, epoch, created_ms, rev, told, gone_ms, past FROM room_events ORDER BY gone_ms, room LIMIT ?", eventRooms)
	return versions, err
}

// event reads one room's; sql.ErrNoRows when nothing is known of it.
func (s *Store) event(ctx context.Context, name room.Name) (room.Event, eventVersion, error) {
	var row struct {
		eventVersion
		Title    string `db:"title"`
		Venue    string `db:"venue"`
		StartsMS int64  `db:"starts_ms"`
		Accent   string `db:"accent"`
		Logo     []byte `db:"logo"`
	}
	err := s.db.GetContext(ctx, &row, "SELECT room, epoch, created_ms, rev, told, gone_ms, past, title, venue, starts_ms, accent, logo FROM room_events WHERE room = ?", name)
	if err != nil {
		return room.Event{}, eventVersion{}, err
	}
	e := room.Event{Title: row.Title, Venue: row.Venue, Rev: row.Rev, Brand: room.Brand{Accent: row.Accent}}
	if len(row.Logo) > 0 {
		e.Brand.Logo = row.Logo
	}
	if row.StartsMS != 0 {
		e.StartsAt = time.UnixMilli(row.StartsMS).UTC()
	}
	return e, row.eventVersion, nil
}

// purgeEvents deletes the events of rooms that went before a moment.
func (s *Store) purgeEvents(ctx context.Context, before time.Time) error {
	_, err := s.db.Write(ctx, "DELETE FROM room_events WHERE gone_ms > 0 AND gone_ms < ?", before.UnixMilli())
	return err
}

// keptEvent is one event in memory. It is never changed.
type keptEvent struct {
	version eventVersion
	event   room.Event
}

// saleEvents are the events of all rooms, out of memory: however many pages are
// asked for, and whatever names strangers invent, the database is read by one loop.
type saleEvents struct {
	store *Store
	rooms atomic.Pointer[map[room.Name]keptEvent] // at most eventRooms; a map is never changed
}

func newSaleEvents(store *Store) *saleEvents {
	s := &saleEvents{store: store}
	s.rooms.Store(&map[room.Name]keptEvent{})
	return s
}

// look reads the versions of all and those events that are new. Only the loop calls
// it. While the database is away what is known stays.
func (s *saleEvents) look(ctx context.Context) (more bool, err error) {
	versions, err := s.store.eventVersions(ctx)
	if err != nil {
		return false, err
	}
	known := *s.rooms.Load()
	next := make(map[room.Name]keptEvent, len(versions))
	changed := len(versions) != len(known)
	for _, v := range versions {
		kept, has := known[v.Room]
		if !has || kept.version != v {
			changed = true
			event, version, err := s.store.event(ctx, v.Room)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				continue // purged since
			case err != nil:
				return false, err
			}
			kept = keptEvent{version, event}
		}
		next[v.Room] = kept
	}
	if changed {
		s.rooms.Store(&next)
	}
	return false, nil
}

// Event is what a room's sale is for, at most a second old; empty when nothing was
// told of it. It reads no database. The logo's bytes are shared: nobody changes
// them.
func (b *Booker) Event(name room.Name) room.Event { return (*b.events.rooms.Load())[name].event }

// line says which line of a room is the newest that is known, none when the room was
// deleted, and whether epoch is of an earlier one. An epoch that was never told of may be of a line that is newer still.
func (s *saleEvents) line(name room.Name, epoch room.Epoch) (newest room.Epoch, old bool) {
	v := (*s.rooms.Load())[name].version
	if newest = v.Epoch; v.GoneMS != 0 {
		newest = ""
	}
	return newest, v.Epoch != epoch && slices.Contains(strings.Split(v.Past, ","), string(epoch))
}
