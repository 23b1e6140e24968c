package room

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Sentinels for values that do not have the form their type asks for.
var (
	ErrName      = errors.New("room name must match [a-z0-9][a-z0-9-]{0,62}")
	ErrVisitorID = errors.New("visitor id must be 16 base64url characters")
	ErrEpochForm = errors.New("epoch must be 8 base32 characters (a-z, 2-7)")
	ErrAdmission = errors.New("admission id must be room.epoch.number.visitor")
)

// Name names one room: one line in front of one sale. It stands inside the
// hash tag of a Redis key and in a URL path, hence the narrow alphabet.
type Name string

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ParseName returns s as a Name, or ErrName.
func ParseName(s string) (Name, error) {
	if !namePattern.MatchString(s) {
		return "", ErrName
	}
	return Name(s), nil
}

// VisitorID is 96 random bits in base64url: 16 characters. A new join is always
// a new VisitorID, so a late fact about an old one can never hit a stranger.
type VisitorID string

// NewVisitorID returns a fresh random id.
func NewVisitorID() VisitorID {
	var b [12]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return VisitorID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// ParseVisitorID returns s as a VisitorID, or ErrVisitorID.
func ParseVisitorID(s string) (VisitorID, error) {
	if len(s) != 16 {
		return "", ErrVisitorID
	}
	if _, err := base64.RawURLEncoding.DecodeString(s); err != nil {
		return "", ErrVisitorID
	}
	return VisitorID(s), nil
}

// Epoch is the identity of a room's line. The operator's `room create` mints it;
// no process mints one because it finds Redis empty.
type Epoch string

var epochEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewEpoch returns a fresh random epoch of 40 bits.
func NewEpoch() Epoch {
	var b [5]byte
	rand.Read(b[:])
	return Epoch(epochEncoding.EncodeToString(b[:]))
}

// ParseEpoch returns s as an Epoch, or ErrEpochForm.
func ParseEpoch(s string) (Epoch, error) {
	if len(s) != 8 {
		return "", ErrEpochForm
	}
	if _, err := epochEncoding.DecodeString(s); err != nil {
		return "", ErrEpochForm
	}
	return Epoch(s), nil
}

// Number is a visitor's place number, given by a counter of the line from 1.
// Pages show positions, never numbers.
type Number int64

// MaxNumber is the last number a line gives. Above it the `gone` bitmap would
// pass 128 MiB; the line then answers ErrFull.
const MaxNumber Number = 1 << 30

// Position is the live rank in the line, from 1.
type Position int64

// Admission identifies one admission. Its text form is the primary key in SQL
// and the `jti` of a pass.
type Admission struct {
	Room    Name
	Epoch   Epoch
	Number  Number
	Visitor VisitorID
}

// String returns room.epoch.number.visitor. None of the parts can hold a dot.
func (a Admission) String() string {
	return string(a.Room) + "." + string(a.Epoch) + "." + strconv.FormatInt(int64(a.Number), 10) + "." + string(a.Visitor)
}

// ParseAdmission is the inverse of Admission.String.
func ParseAdmission(s string) (Admission, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return Admission{}, ErrAdmission
	}
	name, err1 := ParseName(parts[0])
	epoch, err2 := ParseEpoch(parts[1])
	n, err3 := strconv.ParseInt(parts[2], 10, 64)
	visitor, err4 := ParseVisitorID(parts[3])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Admission{}, fmt.Errorf("%w: %w", ErrAdmission, err)
	}
	if n < 1 || Number(n) > MaxNumber || strconv.FormatInt(n, 10) != parts[2] {
		return Admission{}, ErrAdmission
	}
	return Admission{Room: name, Epoch: epoch, Number: Number(n), Visitor: visitor}, nil
}
