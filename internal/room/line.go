package room

import (
	"errors"
	"time"
)

// What the line refuses. Adapters translate their client's errors into these at
// the border; the table in wire turns them into codes.
var (
	ErrUnknown    = errors.New("room is unknown")
	ErrDeleted    = errors.New("room was deleted")
	ErrExists     = errors.New("room exists already")
	ErrEpoch      = errors.New("place or call is of another epoch")
	ErrRecovering = errors.New("line is recovering: it knows less than the caller")
	ErrState      = errors.New("room is in another state")
	ErrClosed     = errors.New("room is closed")
	ErrSoldOut    = errors.New("room is sold out")
	ErrFull       = errors.New("room is full")
	ErrSpent      = errors.New("place is spent")
	ErrActive     = errors.New("visitor is in the shop: leaving is the shop's to say")
	ErrBusy       = errors.New("visitors wait or the outbox is not empty")
	ErrStaleBatch = errors.New("join batch is older than the lane's last")
	ErrMemory     = errors.New("line's memory is full")
	ErrAway       = errors.New("line is out of reach")
)

// ErrOverloaded refuses a join because as many others as a node takes wait for the
// line. The line was not asked.
var ErrOverloaded = errors.New("too many joins wait for the line")

// Caller goes with every writing call: the epoch the caller believes in and the
// greatest number it ever saw. The line refuses when it knows less.
type Caller struct {
	Epoch Epoch
	Mark  Number
}

// Lane names one sequence of join batches: a node and one of its workers.
// Batches count from 1; a batch sent again, by the caller or unseen by the
// client library, gets the same numbers.
type Lane struct {
	Name  string
	Batch int64
}

// Joined answers a join batch: the first Granted visitors of the batch have the
// numbers First, First+1, …; the others met a full room.
type Joined struct {
	First    Number
	Granted  int
	Repeated bool
}

// Standing is where a visitor with a place stands.
type Standing int

// The standings. Gone is a place that left the line and holds no slot: left,
// missed, finished or lapsed; its visitor is told `spent`.
const (
	Gone Standing = iota
	Waiting
	Unclaimed
	Active
)

// Place is what a signed place proves, without the signature.
type Place struct {
	Visitor VisitorID
	Number  Number
}

// Stand answers where one visitor stands. Left is the rest of the claim time or
// of the pass; Deadline is the same on the line's clock.
type Stand struct {
	Standing Standing
	Left     time.Duration
	Deadline time.Time
}

// Stop says why a round ended.
type Stop string

// Why a round stopped.
const (
	StopRate    Stop = "rate"    // no credit: Due says when the next visitor is due
	StopCap     Stop = "cap"     // every slot is taken
	StopMore    Stop = "more"    // the limit of one call: call again at once
	StopEmpty   Stop = "empty"   // nobody waits
	StopPaused  Stop = "paused"  // by an operator
	StopOpening Stop = "opening" // not open yet
	StopClosed  Stop = "closed"  // by an operator
	StopSoldOut Stop = "sold_out"
	StopOutbox  Stop = "outbox" // deeper than MaxOutbox: Kafka is in trouble
)

// MaxRound is how many one call admits at most: about 2 ms of Redis.
const MaxRound = 500

// MaxOutbox is the depth of unacknowledged admissions at which rounds stop.
const MaxOutbox = 10_000

// MaxBatch is how many one call joins at most: Lua's unpack ends near 4,000.
const MaxBatch = 2_000

// Round answers one admit call.
type Round struct {
	Admitted int
	Missed   int // claims whose deadline this call pruned
	Lapsed   int // passes whose deadline this call pruned
	Stop     Stop
	Due      time.Duration // until the next visitor can be admitted; 0 with StopMore
	Last     Number        // greatest number admitted by this call, 0 when none
	Slots    int64         // unclaimed and active together, after the call
	Waiting  int64
	Outbox   int64

	// What the line knows beside it, at the same moment.
	Total     int64     // ever admitted, by all admitters
	Now       time.Time // the line's clock
	State     State
	SoldOut   bool
	Rate      Rate
	MaxActive int64
}

// Snapshot is one tick's read of a line, all at one moment.
type Snapshot struct {
	Conf     Conf
	Now      time.Time // the line's clock
	Seq      Number    // last number given
	Head     Number    // least number waiting; Seq+1 when nobody waits
	Waiting  int64
	Admitted int64  // ever admitted: the difference of two reads is the outflow
	Gone     []byte // the bitmap from byte GoneFrom on; bits before it count as gone
	GoneFrom int64
}

// Turn is the read of the turn tick: the head and a window of the bitmap.
type Turn struct {
	Seq      Number
	Head     Number
	Gone     []byte // at most 4 KiB from byte GoneFrom on
	GoneFrom int64
}

// Admitted is one entry of the line's outbox.
type Admitted struct {
	Entry   string // stream entry id, for Relayed
	Visitor VisitorID
	Number  Number
	At      time.Time // the line's clock, µs
	Epoch   Epoch
}
