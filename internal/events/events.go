// Package events holds the words on Kafka: topics, the facts they carry, and how
// a fact becomes a record and back. Words only; kafkaio carries them.
//
// Records are CloudEvents 1.0 in binary mode: attributes as `ce_…` headers, the
// fact as a JSON body. Readers ignore unknown fields; a type ends in its version.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// Topics.
const (
	TopicAdmitted = "waitroom.admitted"
	TopicBookings = "waitroom.bookings"
)

// DLQ is where messages of topic go that cannot be decoded or validated.
func DLQ(topic string) string { return topic + ".dlq" }

// Types of facts, as in header ce_type.
const (
	TypeAdmitted  = "waitroom.admitted.v1"
	TypeHeld      = "waitroom.bookings.held.v1"
	TypeConfirmed = "waitroom.bookings.confirmed.v1"
	TypeReleased  = "waitroom.bookings.released.v1"
	TypeExpired   = "waitroom.bookings.expired.v1"
	TypeFinished  = "waitroom.bookings.finished.v1"
	TypeSoldOut   = "waitroom.bookings.sold_out.v1"
)

// ErrInvalid is a record that can never be understood: it goes to the DLQ.
var ErrInvalid = errors.New("invalid event")

// Record is a message without its transport.
type Record struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers map[string]string

	Partition int // where it was read; a publisher ignores both
	Offset    int64
}

// DeadLetter is r on its way to the DLQ of its topic: as it was, with its origin
// and the reason in headers. The reason is cut, since a header is no place for a
// long text.
func DeadLetter(r Record, reason error) Record {
	text := reason.Error()
	if len(text) > 500 {
		text = text[:500]
	}
	h := maps.Clone(r.Headers)
	if h == nil {
		h = map[string]string{}
	}
	h["dlq_topic"] = r.Topic
	h["dlq_partition"] = strconv.Itoa(r.Partition)
	h["dlq_offset"] = strconv.FormatInt(r.Offset, 10)
	h["dlq_attempts"] = "1" // nothing undecodable is tried twice
	h["dlq_error"] = text
	return Record{Topic: DLQ(r.Topic), Key: r.Key, Value: r.Value, Headers: h}
}

// Admitted says that the line admitted a visitor.
type Admitted struct {
	ID           string         `json:"id"` // admission id
	Room         room.Name      `json:"room"`
	Epoch        room.Epoch     `json:"epoch"`
	Number       room.Number    `json:"number"`
	Visitor      room.VisitorID `json:"visitor"`
	AdmittedAtUS int64          `json:"admitted_at_us"` // the line's clock, µs since 1970
}

// Booking is a fact of the shop. Which fields are set depends on its type:
// held, confirmed, released, expired name admission, hold and seats; finished
// the admission; sold_out room, epoch and the stock it speaks of.
type Booking struct {
	Type      string     `json:"-"`
	ID        string     `json:"id"` // of the fact, unique: repeats are absorbed by it
	Room      room.Name  `json:"room"`
	Epoch     room.Epoch `json:"epoch"`
	Admission string     `json:"admission,omitempty"`
	Hold      string     `json:"hold,omitempty"`
	Seats     []seat.ID  `json:"seats,omitempty"`
	StockRev  int64      `json:"stock_rev,omitempty"` // of sold_out: +1 per change of the room's stock; 0: a shop that does not count
	AtMS      int64      `json:"at_ms"`               // the seats' clock, ms since 1970
}

func headers(typ, id, source string, at time.Time) map[string]string {
	return map[string]string{
		"ce_specversion":  "1.0",
		"ce_type":         typ,
		"ce_id":           id,
		"ce_source":       source,
		"ce_time":         at.UTC().Format(time.RFC3339Nano),
		"content-type":    "application/json",
		"ce_partitionkey": "",
	}
}

// EncodeAdmitted keys the record by visitor.
func EncodeAdmitted(name room.Name, a room.Admitted) Record {
	id := room.Admission{Room: name, Epoch: a.Epoch, Number: a.Number, Visitor: a.Visitor}.String()
	body, _ := json.Marshal(Admitted{id, name, a.Epoch, a.Number, a.Visitor, a.At.UnixMicro()}) // strings and integers cannot fail
	h := headers(TypeAdmitted, id, "/rooms/"+string(name)+"/line", a.At)
	h["ce_partitionkey"] = string(a.Visitor)
	return Record{Topic: TopicAdmitted, Key: []byte(a.Visitor), Value: body, Headers: h}
}

// DecodeAdmitted reads and validates; its errors are ErrInvalid.
func DecodeAdmitted(headers map[string]string, value []byte) (Admitted, error) {
	var a Admitted
	if t := headers["ce_type"]; t != TypeAdmitted {
		return a, fmt.Errorf("%w: ce_type %q", ErrInvalid, t)
	}
	if err := json.Unmarshal(value, &a); err != nil {
		return a, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	id, err := room.ParseAdmission(a.ID)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if id != (room.Admission{Room: a.Room, Epoch: a.Epoch, Number: a.Number, Visitor: a.Visitor}) || a.AdmittedAtUS <= 0 {
		return a, fmt.Errorf("%w: id %s differs from its parts", ErrInvalid, a.ID)
	}
	return a, nil
}

// EncodeBooking keys the record by visitor, sold_out by room.
func EncodeBooking(b Booking) Record {
	key := string(b.Room)
	if a, err := room.ParseAdmission(b.Admission); err == nil {
		key = string(a.Visitor)
	}
	body, _ := json.Marshal(b)
	h := headers(b.Type, b.ID, "/rooms/"+string(b.Room)+"/shop", time.UnixMilli(b.AtMS))
	h["ce_partitionkey"] = key
	return Record{Topic: TopicBookings, Key: []byte(key), Value: body, Headers: h}
}

// DecodeBooking reads and validates; its errors are ErrInvalid.
func DecodeBooking(headers map[string]string, value []byte) (Booking, error) {
	var b Booking
	if err := json.Unmarshal(value, &b); err != nil {
		return b, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b.Type = headers["ce_type"]
	_, errRoom := room.ParseName(string(b.Room))
	_, errEpoch := room.ParseEpoch(string(b.Epoch))
	if err := errors.Join(errRoom, errEpoch); err != nil || b.ID == "" {
		return b, fmt.Errorf("%w: id %s: %w", ErrInvalid, strconv.Quote(b.ID), err)
	}
	switch b.Type {
	case TypeSoldOut:
		if b.StockRev < 0 || b.StockRev > room.MaxStockRev {
			return b, fmt.Errorf("%w: stock_rev %d", ErrInvalid, b.StockRev)
		}
		return b, nil
	case TypeHeld, TypeConfirmed, TypeReleased, TypeExpired, TypeFinished:
		a, err := room.ParseAdmission(b.Admission)
		if err != nil || a.Room != b.Room || a.Epoch != b.Epoch {
			return b, fmt.Errorf("%w: admission %s", ErrInvalid, strconv.Quote(b.Admission))
		}
		return b, nil
	}
	return b, fmt.Errorf("%w: ce_type %q", ErrInvalid, b.Type)
}
