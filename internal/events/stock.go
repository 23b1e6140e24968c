package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"waitroom/internal/room"
)

// TypeStock is a fact of TopicBookings about all seats of a room; its body is a Stock.
// Those who knew no such type call the record invalid, so readers are upgraded first.
const TypeStock = "waitroom.bookings.stock.v1"

// MaxStock bounds the value of a record, in bytes: twice what the longest name, epoch
// and numbers take, for fields to come.
const MaxStock = 1 << 10

// Stock says how many seats of a room are left. Of two of one epoch the greater Rev
// is the newer; a repeat has the same.
type Stock struct {
	ID    string     `json:"id"` // made by EncodeStock: of the room, its epoch and Rev
	Room  room.Name  `json:"room"`
	Epoch room.Epoch `json:"epoch"`
	Rev   int64      `json:"rev"`   // +1 per change of Left or Seats, from 1
	Left  int64      `json:"left"`  // seats that are not booked; held ones count
	Seats int64      `json:"seats"` // that there are
	AtMS  int64      `json:"at_ms"` // the seats' clock, ms since 1970
}

// EncodeStock gives the fact its id and keys the record by room.
func EncodeStock(s Stock) Record {
	s.ID = string(s.Room) + "." + string(s.Epoch) + "." + strconv.FormatInt(s.Rev, 10) + "." + TypeStock
	body, _ := json.Marshal(s) // strings and integers cannot fail
	h := headers(TypeStock, s.ID, "/rooms/"+string(s.Room)+"/shop", time.UnixMilli(s.AtMS))
	h["ce_partitionkey"] = string(s.Room)
	return Record{Topic: TopicBookings, Key: []byte(s.Room), Value: body, Headers: h}
}

// DecodeStock reads and validates; its errors are ErrInvalid.
func DecodeStock(headers map[string]string, value []byte) (Stock, error) {
	var s Stock
	if t := headers["ce_type"]; t != TypeStock {
		return s, fmt.Errorf("%w: ce_type %q", ErrInvalid, t)
	}
	if len(value) > MaxStock {
		return s, fmt.Errorf("%w: %d bytes", ErrInvalid, len(value))
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	_, errRoom := room.ParseName(string(s.Room))
	_, errEpoch := room.ParseEpoch(string(s.Epoch))
	if err := errors.Join(errRoom, errEpoch); err != nil {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if s.ID == "" {
		return s, fmt.Errorf("%w: no id", ErrInvalid)
	}
	if s.Rev < 1 || s.Rev > room.MaxStockRev || s.Left < 0 || s.Left > s.Seats || s.AtMS <= 0 {
		return s, fmt.Errorf("%w: rev %d, left %d of %d, at_ms %d", ErrInvalid, s.Rev, s.Left, s.Seats, s.AtMS)
	}
	return s, nil
}
