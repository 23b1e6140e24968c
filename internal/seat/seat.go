// Package seat holds the words and rules of the shop: seats, holds and bookings.
// Standard library only; the SQL that is the rule lives in booking.
package seat

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Sentinels of the shop.
var (
	ErrID        = errors.New("seat id must be [section-]row-number, of [A-Z0-9]{1,8} and [1-9][0-9]{0,3}")
	ErrHoldID    = errors.New("hold id must be 16 base64url characters")
	ErrNone      = errors.New("no seat asked for")
	ErrTwice     = errors.New("the same seat asked for twice")
	ErrTooMany   = errors.New("more seats than one visitor may hold")
	ErrUnknown   = errors.New("seat does not exist")
	ErrTaken     = errors.New("seat is taken")
	ErrNoHold    = errors.New("hold does not exist for this pass")
	ErrHoldEnded = errors.New("hold has ended")
	ErrHoldOpen  = errors.New("pass has another live hold")
	ErrPassSpent = errors.New("pass is spent")
	ErrNoRoom    = errors.New("room has no seats")
	ErrSkew      = errors.New("clock differs from the database's by more than 2 s")
	ErrDeclined  = errors.New("payment was declined")
	ErrEpoch     = errors.New("pass is of an earlier line of this room")
	ErrExtended  = errors.New("hold was extended already")
	ErrKey       = errors.New("idempotency key must be 1 to 64 of A-Z a-z 0-9 - _ . : ~")
	ErrKeyReused = errors.New("idempotency key was used for another request")
	ErrKeyBusy   = errors.New("a request with this idempotency key is being served")
	ErrKeys      = errors.New("pass has used too many idempotency keys")
	ErrBusy      = errors.New("more is asked of the seats than they can take now")
	ErrAway      = errors.New("seats are out of reach") // or it is not known what became of the call
)

// TakenError names the seats that stood in the way. It is an ErrTaken.
type TakenError struct{ Seats []ID }

func (e *TakenError) Error() string {
	s := make([]string, len(e.Seats))
	for i, id := range e.Seats {
		s[i] = string(id)
	}
	return "seats taken: " + strings.Join(s, ", ")
}

// Is makes errors.Is(err, ErrTaken) true.
func (e *TakenError) Is(target error) bool { return target == ErrTaken }

// ID names a seat of one room: a row, a dash, a number from 1: "A-12", with a section
// before it where the house has some: "N2-A-12". It has at most 22 characters.
type ID string

var idPattern = regexp.MustCompile(`^([A-Z0-9]{1,8}-)?[A-Z0-9]{1,8}-[1-9][0-9]{0,3}$`)

// ParseID returns s as an ID, or ErrID.
func ParseID(s string) (ID, error) {
	if !idPattern.MatchString(s) {
		return "", ErrID
	}
	return ID(s), nil
}

// Compare sorts as people count, B-1, …, AA-1, and sections among
// themselves before that. The shorter name comes first, then by letters.
func Compare(a, b ID) int {
	sectionA, rowA, numberA := a.parts()
	sectionB, rowB, numberB := b.parts()
	return cmp.Or(
		cmp.Compare(len(sectionA), len(sectionB)), cmp.Compare(sectionA, sectionB),
		cmp.Compare(len(rowA), len(rowB)), cmp.Compare(rowA, rowB),
		cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB))
}

// parts takes a seat's name apart; no section is "".
func (id ID) parts() (section, row, number string) {
	rest, number, _ := cutLast(string(id))
	section, row, found := cutLast(rest)
	if !found {
		return "", rest, number
	}
	return section, row, number
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// MaxPerRoom bounds the seats of a room: the page draws them all.
const MaxPerRoom = 100_000

// Row returns the letters of row i from 0: A … Z, AA … ZZZ.
func Row(i int) string {
	var b []byte
	for i++; i > 0; i = (i - 1) / 26 {
		b = append(b, byte('A'+(i-1)%26))
	}
	slices.Reverse(b)
	return string(b)
}

// Generate names count seats in rows of perRow.
func Generate(count, perRow int) ([]ID, error) {
	if count < 1 || count > MaxPerRoom || perRow < 1 || perRow > 9999 {
		return nil, fmt.Errorf("seats: want 1 to %d, in rows of 1 to 9999", MaxPerRoom)
	}
	if (count-1)/perRow >= 26+26*26+26*26*26 {
		return nil, errors.New("seats: more rows than three letters can name")
	}
	ids := make([]ID, count)
	for i := range ids {
		ids[i] = ID(fmt.Sprintf("%s-%d", Row(i/perRow), i%perRow+1))
	}
	return ids, nil
}

// State of a seat: free → held → booked, and back to free when a hold ends. An operator
// takes one that is free from sale, and gives it back: free ⇄ blocked.
type State string

// The states of a seat.
const (
	Free    State = "free"
	Held    State = "held"
	Booked  State = "booked"
	Blocked State = "blocked" // not for sale: neither left nor sold
)

// Seat is one seat as the map shows it. What its plan says of it is told with the plan.
type Seat struct {
	ID         ID     `json:"id"`
	State      State  `json:"state"`
	Category   string `json:"-"`
	Unnumbered bool   `json:"-"` // a place that nobody chooses by its number
	Price      Price  `json:"-"`
}

// HoldID is 96 random bits in base64url.
type HoldID string

// NewHoldID returns a fresh random id.
func NewHoldID() HoldID {
	var b [12]byte
	rand.Read(b[:])
	return HoldID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// ParseHoldID returns s as a HoldID, or ErrHoldID.
func ParseHoldID(s string) (HoldID, error) {
	if len(s) != 16 {
		return "", ErrHoldID
	}
	if _, err := base64.RawURLEncoding.DecodeString(s); err != nil {
		return "", ErrHoldID
	}
	return HoldID(s), nil
}

// Hold keeps seats for one pass until a moment of the seats' clock.
type Hold struct {
	ID       HoldID
	Seats    []ID // sorted
	Until    time.Time
	More     time.Duration // for which it may be extended, once, while it lasts; 0: not at all, or not again
	Amount   int64         // what the seats cost together, in the currency's minor units
	Currency string        // ISO 4217, "" with an amount of 0
}

// Ask checks and sorts the seats of one request: 1 to most of them, no repeats.
func Ask(seats []string, most int) ([]ID, error) {
	if len(seats) == 0 {
		return nil, ErrNone
	}
	if len(seats) > most {
		return nil, fmt.Errorf("%w: %d, at most %d", ErrTooMany, len(seats), most)
	}
	ids := make([]ID, len(seats))
	for i, s := range seats {
		id, err := ParseID(s)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		return nil, ErrTwice
	}
	return ids, nil
}
