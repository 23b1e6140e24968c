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
	ErrRecovering = errors.New("line is recovering: it lost writes, and asks those who know")
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
	ErrUnsure     = errors.New("nobody can say who is away: not every span of the grace was told")
)

// ErrOverloaded refuses a join because as many others as a node takes wait for the
// line. The line was not asked.
var ErrOverloaded = errors.New("too many joins wait for the line")

// Caller goes with every writing call: the epoch the caller believes in, the
// greatest number it heard from the line, and who it is. A mark is raised by what
// the line answered and by nothing else: what somebody else shows, a place or a
// fact, is an argument of its own. Process is the id that signs its life, so that
// the line knows who may still tell it what it lost.
type Caller struct {
	Epoch   Epoch
	Mark    Number
	Process string
}

// Lane names one sequence of join batches: a node and one of its workers.
// Batches count from 1; a batch sent again, by the caller or unseen by the
// client library, gets the same numbers.
type Lane struct {
	Name  string
	Batch int64
}

// LaneState is the last batch of a lane, as the line keeps it.
type LaneState struct {
	Lane    Lane // its name and the number of its last batch
	Epoch   Epoch
	First   Number
	Granted int
	At      time.Time // when it joined, on the line's clock
}

// Joined answers a join batch: the first Granted visitors of the batch have a
// number each, the others met a full room.
type Joined struct {
	First    Number
	Granted  int
	Repeated bool
	// Known holds the numbers of the batch one by one where some visitor of it was
	// in the line before; nil otherwise, and they are First, First+1, …
	Known []Number
	// First visitors of an empty line: nobody may be looking at it.
	WasEmpty bool
}

// Number is that of the visitor at i, below Granted.
func (j Joined) Number(i int) Number {
	if j.Known != nil {
		return j.Known[i]
	}
	return j.First + Number(i)
}

// Mark is the greatest number that the line told in its answer.
func (j Joined) Mark() Number {
	if j.Granted == 0 {
		return 0
	}
	return j.First + Number(j.Granted) - 1
}

// Standing is where a visitor with a place stands.
type Standing int

// The standings. Gone is a place that left the line and holds no slot: left,
// missed, finished or lapsed; its visitor is told `spent`. Unseen is a number that
// this line does not know to have given: it lost writes, and nobody may be told
// anything for that. Away is Gone of somebody whom no node saw for the room's grace.
const (
	Gone Standing = iota
	Waiting
	Unclaimed
	Active
	Unseen
	Away
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
	StopOutbox  Stop = "outbox" // as deep as OutboxBound: Kafka is in trouble
)

// MaxRound is how many one call admits at most: about 2 ms of Redis.
const MaxRound = 500

// MinOutbox and MaxOutbox bound OutboxBound. A million admissions are some 30 MB of
// Redis.
const (
	MinOutbox = 10_000
	MaxOutbox = 1_000_000
)

// OutboxBound is how many admissions may wait for Kafka at a rate: ten minutes of
// it, so that a slow sale and a fast one outlast the same outage; at least MinOutbox,
// at most MaxOutbox. Rounds stop at it.
func OutboxBound(rate Rate) int64 {
	return min(max(int64(rate)/1000*600, MinOutbox), MaxOutbox)
}

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
	Seq      Number        // last number given
	Slots    int64         // unclaimed and active together, after the call
	Waiting  int64
	Outbox   int64 // admissions

	// What the line knows beside it, at the same moment.
	Total     int64     // ever admitted, by all admitters
	Now       time.Time // the line's clock
	State     State
	SoldOut   bool
	Rate      Rate
	MaxActive int64
	Rev       int64 // of the conf
	Losses    int64 // that the line noticed so far
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
	Life     Life
	Saved    Saved
}

// Saved is what a process remembers of a line, so that it can bring it back should
// Redis lose it whole: the conf as it stood there, into which nobody but the line's
// adapter looks; and the event, of whoever reads it, with its Rev: 0 is none that is
// known. A read of the line does not bring it, since it may have a logo.
type Saved struct {
	Conf  map[string]string
	Event Event
	Life  string // the ID of the life in which it was read
}

// Epoch is the line's.
func (s Saved) Epoch() Epoch { return Epoch(s.Conf["epoch"]) }

// Life is one life of a line's data, and what is known of the loss that it began with.
// Two reads with another ID are of two lives: what was told by the first may be gone
// in the second.
type Life struct {
	ID        string
	Asking    bool      // the line waits for its processes' marks: nobody gets a number
	HoldUntil time.Time // nobody behind the loss is admitted before; zero: nothing is held
	LostAt    time.Time // when the loss was noticed; zero: there was none
	Lost      int64     // numbers whose holders the line did not know then
	Restored  int64     // of these came back
	Fences    int64     // losses so far
}

// Turn is the read of the turn tick: the head and a window of the bitmap.
type Turn struct {
	Seq      Number
	Head     Number
	Gone     []byte // at most 4 KiB from byte GoneFrom on
	GoneFrom int64
	Life     string // the ID of the line's life
}

// Admitted is one admission.
type Admitted struct {
	Visitor VisitorID
	Number  Number
	At      time.Time // the line's clock, µs
	Epoch   Epoch
}

// Entry is one entry of the line's outbox: some admissions of one round, at most
// MaxEntry. It is acknowledged whole.
type Entry struct {
	ID       string // of the stream
	Admitted []Admitted
	Count    int    // how many visitors it stands for, as far as that can be read
	Raw      string // what stands in it, where it can't be read
	Err      error  // why it can't; nil otherwise
}

// MaxEntry is how many admissions one entry of the outbox holds.
const MaxEntry = 50

// Pulse is what changes in a line whenever anything in it does: two that are equal
// are of a line that stood still between them. It can be compared by ==.
type Pulse struct {
	Stats     Stats
	Rev       int64 // of the conf
	Losses    int64 // how often the line was fenced
	Restored  int64 // places that came back to their numbers
	GivenBack int64 // numbers of batches that nobody heard of
}
