package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"waitroom/internal/room"
)

// TopicRooms is compacted: the last record of a room is what there is to know of
// it, and a reader that starts from the beginning has them all.
const TopicRooms = "waitroom.rooms"

// TypeDescribed is the one type of TopicRooms. A record without a value is a
// tombstone: the room of its key was deleted.
const TypeDescribed = "waitroom.rooms.described.v1"

// MaxDescribed bounds the value of a record, in bytes: a logo of 32 KB in base64,
// and texts in their longest spelling.
const MaxDescribed = 64 << 10

// Described says what a room's sale is for. Of two about one room the newer is the
// one of the line made later, then the one with the greater rev; a repeat has both
// the same.
type Described struct {
	Room      room.Name  `json:"room"`
	Epoch     room.Epoch `json:"epoch"`
	CreatedMS int64      `json:"created_ms"` // of the line, ms since 1970 by its own clock; 0: not noted
	Rev       int64      `json:"rev"`        // +1 per change within the epoch; 0: nothing was ever set
	Title     string     `json:"title"`
	Venue     string     `json:"venue"`
	StartsAt  string     `json:"starts_at"` // RFC 3339 in UTC, or ""
	Accent    string     `json:"accent"`
	Logo      []byte     `json:"logo"`      // base64
	LogoType  string     `json:"logo_type"` // media type, or ""
}

// EncodeDescribed keys the record by room.
func EncodeDescribed(name room.Name, rev room.EventRev, event room.Event) Record {
	d := Described{Room: name, Epoch: rev.Epoch, CreatedMS: rev.CreatedMS, Rev: rev.Rev,
		Title: event.Title, Venue: event.Venue, Accent: event.Brand.Accent,
		Logo: event.Brand.Logo, LogoType: event.Brand.LogoType()}
	if !event.StartsAt.IsZero() {
		d.StartsAt = event.StartsAt.UTC().Format(time.RFC3339Nano)
	}
	if d.Logo == nil {
		d.Logo = []byte{} // "" and not null, as the other texts
	}
	body, _ := json.Marshal(d) // strings, integers and bytes cannot fail
	id := string(name) + "." + string(rev.Epoch) + "." + strconv.FormatInt(rev.Rev, 10)
	h := headers(TypeDescribed, id, "/rooms/"+string(name)+"/line", time.Time{})
	delete(h, "ce_time") // the line does not note when an event changed
	h["ce_partitionkey"] = string(name)
	return Record{Topic: TopicRooms, Key: []byte(name), Value: body, Headers: h}
}

// Tombstone says that a room was deleted.
func Tombstone(name room.Name) Record { return Record{Topic: TopicRooms, Key: []byte(name)} }

// DecodeDescribed reads and validates a record of TopicRooms; deleted is a
// tombstone's, of which Room alone is set. Its errors are ErrInvalid.
func DecodeDescribed(r Record) (d Described, deleted bool, err error) {
	name, err := room.ParseName(string(r.Key))
	if err != nil {
		return d, false, fmt.Errorf("%w: key %s: %w", ErrInvalid, strconv.Quote(string(r.Key)), err)
	}
	if len(r.Value) == 0 {
		return Described{Room: name}, true, nil
	}
	if t := r.Headers["ce_type"]; t != TypeDescribed {
		return d, false, fmt.Errorf("%w: ce_type %q", ErrInvalid, t)
	}
	if len(r.Value) > MaxDescribed {
		return d, false, fmt.Errorf("%w: %d bytes", ErrInvalid, len(r.Value))
	}
	if err := json.Unmarshal(r.Value, &d); err != nil {
		return d, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if d.Room != name {
		return d, false, fmt.Errorf("%w: room %q under key %s", ErrInvalid, d.Room, name)
	}
	_, errEpoch := room.ParseEpoch(string(d.Epoch))
	if d.Rev < 0 || d.CreatedMS < 0 {
		errEpoch = errors.Join(errEpoch, fmt.Errorf("rev %d, created_ms %d", d.Rev, d.CreatedMS))
	}
	event, errEvent := d.event()
	if err := errors.Join(errEpoch, errEvent, event.Valid()); err != nil {
		return d, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return d, false, nil
}

// Event is the fact in the room's words.
func (d Described) Event() room.Event {
	e, _ := d.event() // DecodeDescribed has checked it
	return e
}

func (d Described) event() (room.Event, error) {
	e := room.Event{Title: d.Title, Venue: d.Venue, Rev: d.Rev, Brand: room.Brand{Accent: d.Accent}}
	if len(d.Logo) > 0 {
		e.Brand.Logo = d.Logo
	}
	if d.StartsAt == "" {
		return e, nil
	}
	at, err := time.Parse(time.RFC3339, d.StartsAt)
	e.StartsAt = at.UTC()
	return e, err
}
