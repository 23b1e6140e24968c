package room

import (
	"errors"
	"fmt"
	"time"
)

// MaxRooms bounds the registry: every admitter runs rounds for every room.
// Create answers ErrTooMany at the bound.
const MaxRooms = 1_000

// MaxActs is how many entries the audit stream keeps; older ones are dropped.
const MaxActs = 1_000

// RecentFlag is the age below which replacing a value that came from a flag is
// suspicious: two processes with different flags take turns.
const RecentFlag = 10 * time.Minute

// MaxActor bounds who is named in the audit stream, in bytes.
const MaxActor = 128

// ErrTooMany refuses a room beyond MaxRooms.
var ErrTooMany = errors.New("the registry has as many rooms as it may hold")

// ErrChanged refuses an act on a rev that has passed: the operator who made it saw
// another room. Its text names the rev there is, and who made it.
var ErrChanged = errors.New("the room was changed meanwhile")

// Change sets some fields of a live room; a nil field stays as it is.
type Change struct {
	Actor string // who did it, kept in the audit stream

	// Rev is the room's rev as the actor saw it; at any other one the change is
	// ErrChanged. 0 is not compared, as of flags, which nobody chose for this room.
	Rev int64

	// FromFlags marks values that come from flags at a start. Such a value is
	// applied only if it differs from the one last applied from that flag, so
	// that a restart with the same flags never undoes a live change.
	FromFlags bool

	Rate       *Rate
	Burst      *int64
	MaxActive  *int64
	MaxWaiting *int64
	Claim      *time.Duration
	Pass       *time.Duration
	Grace      *time.Duration
	State      *State
	OpensAt    *time.Time // the zero time: only an operator opens
	Notice     *string
	ShopURL    *string

	Event EventChange // never from flags

	// Pause and Resume are steps whose end depends on where the room stands, so
	// the line takes them in the same act as it looks; from any other state they
	// are ErrState. A Notice given with a pause is that pause's: it goes with it,
	// unless another one was set meanwhile.
	//
	//	open ⇄ paused ⇄ opening
	//
	// A resume leads to opening when opens_at lies ahead, unless the room was open
	// when it was paused and opens_at is still the one it had then; and when the
	// room waited for an operator to open it. Else it leads to open.
	Pause  bool
	Resume bool

	// Reopen ends sold_out, in whatever state the room is: an operator has added
	// seats. StockRev is the shop's revision of the stock with them, 0 when it is not
	// known; the line keeps the greatest it hears, and no fact at or below it changes
	// anything. A reopen of stock that the shop called sold out, then or later,
	// is ErrSoldOut.
	Reopen   bool
	StockRev int64
}

// On returns c with the change's fields in place, as if none came from a flag.
func (ch Change) On(c Conf) Conf {
	put(&c.Rate, ch.Rate)
	put(&c.Burst, ch.Burst)
	put(&c.MaxActive, ch.MaxActive)
	put(&c.MaxWaiting, ch.MaxWaiting)
	put(&c.Claim, ch.Claim)
	put(&c.Pass, ch.Pass)
	put(&c.Grace, ch.Grace)
	put(&c.State, ch.State)
	put(&c.OpensAt, ch.OpensAt)
	put(&c.Notice, ch.Notice)
	put(&c.ShopURL, ch.ShopURL)
	return c
}

func put[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// Valid reports every value of the change that is out of bounds, joined.
func (ch Change) Valid() error {
	var err error
	if ch.Actor == "" || len(ch.Actor) > MaxActor {
		err = fmt.Errorf("actor: want 1 to %d bytes", MaxActor)
	}
	if ch.Rev < 0 || ch.Rev > 0 && ch.FromFlags {
		err = errors.Join(err, fmt.Errorf("rev %d: want 0 or above, and 0 with values of flags", ch.Rev))
	}
	steps := 0
	for _, step := range []bool{ch.Pause, ch.Resume, ch.Reopen, ch.State != nil} {
		if step {
			steps++
		}
	}
	if steps > 1 {
		err = errors.Join(err, errors.New("state: want one of a pause, a resume, a reopening and a state"))
	}
	if ch.StockRev < 0 || ch.StockRev > MaxStockRev || ch.StockRev > 0 && !ch.Reopen {
		err = errors.Join(err, fmt.Errorf("stock rev %d: want 0 to %d, with a reopening", ch.StockRev, int64(MaxStockRev)))
	}
	return errors.Join(err, ch.On(DefaultConf()).Valid(), ch.Event.On(Event{}).Valid())
}

// Field is one field of a room's configuration before and after a change, as
// the line keeps it: the rate in thousandths, durations and times in ms.
type Field struct {
	Name string
	Old  string
	New  string
}

// Replaced is a flag's value that gave way to another flag's value while it was
// younger than RecentFlag.
type Replaced struct {
	Field
	Age time.Duration
}

// Changed answers a Change.
type Changed struct {
	Rev         int64   // of the configuration now
	Fields      []Field // what differs from before; empty when nothing does
	BurstRaised *int64  // the burst in force, when the one asked for or kept was below Rate.MinBurst
	Replaced    []Replaced
}

// Stats counts what happened to visitors of a room since it was created.
type Stats struct {
	Joined   int64
	Admitted int64
	Claimed  int64
	Missed   int64 // admitted, and the claim's deadline passed
	Left     int64 // by themselves, waiting or unclaimed
	Away     int64 // taken out since no node saw them for the room's grace
	Finished int64 // said by the shop
	Lapsed   int64 // claimed, and the pass's deadline passed
	Refused  int64 // joins met a full, closed or sold out room; a repeat counts again
}

// Status is what an operator sees of a room, all of one moment.
type Status struct {
	Name      Name
	Conf      Conf
	Now       time.Time // the line's clock
	Seq       Number
	Head      Number // least number waiting; Seq+1 when nobody waits
	Waiting   int64
	Unclaimed int64
	Active    int64
	Outbox    int64 // admissions that Kafka has not acknowledged
	Stats     Stats
	Life      Life
	Saved     Saved
}

// Tombstone says that a room was ended for good.
type Tombstone struct {
	Epoch Epoch // of the line that ended; "" where Redis had lost the line before
	At    time.Time
	Actor string
}

// Act is one entry of the audit stream.
type Act struct {
	At      time.Time
	Actor   string
	What    string
	Created bool  // it made the room
	State   State // the state it set; "" for none
	SoldOut bool  // it said that every seat is booked
}
