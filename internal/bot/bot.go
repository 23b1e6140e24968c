package bot

import (
	"math/rand/v2"
	"net/http"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/wire"
)

// Config of one visitor, or of each of a crowd.
type Config struct {
	Nodes []string // waitroom's base URLs with their prefix, "http://127.0.0.1:8080"; at least one
	Shops []string // booker's base URLs; empty: where the pass message's url points, a path at the node's own host
	Room  room.Name
	Plan  Plan

	// Place is a token to come back with; "": a new visitor.
	Place string

	// Rand decides everything that is left to chance. It is used by one bot at a
	// time; Crowd draws a seed per bot from it. Nil: a random seed.
	Rand *rand.Rand

	// Log hears what the bot does, a line per step; nil: nobody. A crowd's bots
	// call it at the same time.
	Log func(format string, args ...any)

	// Hear is told each message of a node once the bot has taken it, on the bot's
	// own goroutine; nil: nobody. A crowd's bots call it at the same time.
	Hear func(Heard)

	// HTTP is used for the shop and for handshakes; nil: a client of its own.
	HTTP *http.Client

	// The ceiling of the random wait before a reconnect doubles from BackoffMin
	// (0: 1 s) to BackoffMax (0: 30 s), as PROTOCOL.md asks, where a page begins at
	// 4 s. What else a page waits for has the same measure: twice BackoffMin at
	// first before it asks again where it was refused, five quarters of it when the
	// room calls it back.
	BackoffMin, BackoffMax time.Duration
}

// Heard is a message that a visitor was told.
type Heard struct {
	Type  wire.Type
	Code  wire.Code  // of an error
	State room.Shown // of a room
	Place string     // the token that it keeps now, "" when it has none
	Stay  Stay       // its place, as the message left it; zero when it never had one
}

// Plan says how likely a visitor does what. Probabilities are 0 to 1; the zero
// Plan is a visitor who waits, claims at once, and buys one seat.
type Plan struct {
	Leave     float64 // gives up while waiting, at a random moment within LeaveIn
	Drop      float64 // loses the connection while waiting, at a random moment within DropIn, and comes back with its place
	MissClaim float64 // is told that it is its turn, and does not claim
	NoShow    float64 // takes the pass and never comes to the shop: ends Left, and its slot comes back at the pass's end
	LeaveShop float64 // holds seats, then leaves the shop without buying
	Vanish    float64 // holds seats, then is never heard of again
	Change    float64 // releases its first hold and holds other seats
	MaxSeats  int     // holds 1 to MaxSeats seats; 0: one

	LeaveIn time.Duration // 0: 30 s
	DropIn  time.Duration // 0: 30 s
	Away    time.Duration // a dropped one stays away for a random time up to this; 0: comes back at once

	// Think is how long a step of a person takes (before the claim, before the
	// hold, before the confirm): a random time up to it, never more than half of
	// the time that is left for the step.
	Think time.Duration

	// Joins is how many places a visitor takes at most, one after the other,
	// when it lost a turn that it meant to use; 0: 5.
	Joins int
}

// End is how a visit ended.
type End string

// The ends. Booked, SoldOut, Left and Missed are what a sale expects of its
// visitors; the others deserve a look.
const (
	Booked  End = "booked"   // Outcome.Seats are booked
	SoldOut End = "sold_out" // told by the line or by the shop
	Left    End = "left"     // of its own will, in the line, in the shop or before it
	Missed  End = "missed"   // did not claim, as planned
	Closed  End = "closed"   // the room was closed while it waited
	Stopped End = "stopped"  // the context ended first
	Failed  End = "failed"   // Outcome.Err says why
)

// Outcome is what a visitor came to and what it heard on the way.
type Outcome struct {
	End    End
	Seats  []seat.ID // booked
	InShop bool      // it had a pass
	Err    error     // of Failed and Stopped, nil otherwise

	Stays      []Stay // one per place it had, in order; the last one is where it ended
	Dials      int    // handshakes tried
	Reconnects int    // connections lost or given up, and replaced
	Drains     int    // drain messages heard
	Retries    int    // HTTP requests sent again
	Taken      int    // holds refused because others were faster

	Began, Ended time.Time
}

// Stay is one place in the line, from `joined` on.
type Stay struct {
	Visitor room.VisitorID // read from the place, unverified
	Number  room.Number
	Epoch   room.Epoch

	First, Last room.Position // heard; 0: none
	Heard       int           // position messages
	Rises       int           // positions above the one before, on the same connection: never, while the line loses nothing
	Moves       int           // other numbers, visitors or epochs told for the same place: never

	// Moments, on this process's clock; zero: it did not happen.
	Joined, Admitted, Passed time.Time

	Admission string // admission id out of the pass, unverified
}

// Place returns the last stay, zero when the visitor never had a place.
func (o Outcome) Place() Stay {
	if len(o.Stays) == 0 {
		return Stay{}
	}
	return o.Stays[len(o.Stays)-1]
}
