package room

import (
	"errors"
	"time"
)

// Bounds of the signs of life: each admitter and each node writes one every
// SignEvery. They are for people who look; no decision about a visitor is made
// from them, so losing all of them harms nothing.
const (
	SignEvery = time.Second
	// SignAlive is how old the last sign of a process that is alive may be: four
	// may be lost or late before anybody is called silent.
	SignAlive = 5 * time.Second
	// SignKept is how long the last sign of a silent process is shown.
	SignKept = 10 * time.Minute
	// MaxSigns is how many processes sign at once, silent ones included; the next
	// one is refused with ErrTooManySigns and works on unseen.
	MaxSigns = 256
	// MaxSignError bounds an error's text in a sign, in bytes.
	MaxSignError = 120
)

// ErrTooManySigns refuses a sign beyond MaxSigns.
var ErrTooManySigns = errors.New("as many processes sign as are kept")

// Role says what a process that signs is.
type Role string

// The roles. The booker does not sign: it does not know Redis.
const (
	RoleAdmitter Role = "admitter"
	RoleNode     Role = "waitroom"
)

// Sign is what one process says of itself. It carries durations and no times,
// and is dated by the line's clock when it is written: nobody else's clock
// counts. Fields are additive; a reader skips those it does not know.
type Sign struct {
	ID string    `json:"-"` // of the process, random at its start
	At time.Time `json:"-"` // when it was written, on the line's clock

	Role    Role       `json:"role"`
	Host    string     `json:"host"`
	PID     int        `json:"pid"`
	Version string     `json:"version"`
	UpMS    int64      `json:"up_ms"`             // since it started
	Stopped bool       `json:"stopped,omitempty"` // its last one: it ended in good order
	Rooms   []RoomSign `json:"rooms,omitempty"`   // at most MaxRooms
}

// RoomSign is what a process says of one room. Times are in ms before the sign
// was written.
type RoomSign struct {
	Room  Name  `json:"room"`
	Epoch Epoch `json:"epoch,omitempty"`

	// Of an admitter's rounds. Cause is why they stop, once that has lasted a
	// second; Last is the last round's where it is another one. RoundMS is how
	// long ago the last round came about, -1 when none did.
	Cause   Stop   `json:"cause,omitempty"`
	CauseMS int64  `json:"cause_ms,omitempty"`
	Last    Stop   `json:"last,omitempty"`
	RoundMS int64  `json:"round_ms,omitempty"`
	Error   string `json:"error,omitempty"`

	// Admitted is the line's own count, of all admitters, at the last round; Past
	// is what it was before, {ms ago, count}, the newest first, over a minute.
	Admitted int64      `json:"admitted,omitempty"`
	Past     [][2]int64 `json:"past,omitempty"`
	// InsideMS is how long a visitor kept a slot of late, on average; 0 when too
	// few gave theirs back to say.
	InsideMS int64 `json:"inside_ms,omitempty"`

	// Of a node: its visitors, and how old the last good read of the line is.
	Visitors int64 `json:"visitors,omitempty"`
	StaleMS  int64 `json:"stale_ms,omitempty"`
}

// The causes that rounds find themselves, beside those that the line answers.
const (
	StopAway       Stop = "away"       // Redis is out of reach
	StopRecovering Stop = "recovering" // the line lost writes: who waits is behind the loss, or the line is gone
	StopUnknown    Stop = "unknown"    // deleted, which the registry will say, or lost whole
	StopError      Stop = "error"
)
