// Package conversation is what a visitor may say and what comes of it: a join first,
// then claims and leaves, within an allowance, each refusal with its code. It knows
// no transport: what carries it is a Link, and calls it with whole messages, one
// after another.
//
// A conversation belongs to one connection, the session behind it to a place; so a
// visitor with three tabs has three conversations and one session.
package conversation

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/hub"
	"waitroom/internal/limit"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

const (
	// firstWithin is how long a connection may stay silent at first.
	firstWithin = 5 * time.Second
	// A visitor's messages: so many at once, and so many a second. A person sends
	// three in an hour.
	messageBurst = 10
	messageRate  = 1
	// New numbers of one connection: so many at once, and one each so often. Who
	// changes his mind leaves and joins a few times; a program that does it without
	// end would burn a line's 2^30 numbers in hours.
	numberBurst = 10
	numberEvery = time.Minute
)

// Link is one connection as its conversation sees it. Its methods do not block and
// do not call back.
type Link interface {
	hub.Sink
	// Within gives the next message a time, whose end is told by Expired; 0: none.
	Within(time.Duration)
}

// Hub is what conversations need of hub.Hub.
type Hub interface {
	Full() bool
	Join(context.Context, room.Name, hub.Sink) (*hub.Session, error)
	Return(context.Context, room.Name, room.Epoch, room.Place, hub.Sink) (*hub.Session, error)
	Watch(room.Name, hub.Sink) *hub.Session
}

// Places verifies the tokens that visitors bring back; token.Keyring is one.
type Places interface {
	ParsePlace(context.Context, string, room.Name) (token.Place, error)
}

// Desk is what the conversations of a node share.
type Desk struct {
	// Again is how long a connection may stay that was refused in a room which this
	// node knows nothing of, so that no heartbeat keeps it: nothing else would ever
	// end it. It is then sent to reconnect. Set before the first conversation.
	Again time.Duration

	// Set once.
	hub    Hub
	places Places
	limits *limit.Limiter
	errors *prometheus.CounterVec // by code: those of wire's table
	began  time.Time              // allowances count from here, by a clock that never goes back
}

// NewDesk makes the desk of a node.
func NewDesk(hub Hub, places Places, limits *limit.Limiter, reg prometheus.Registerer) *Desk {
	d := &Desk{Again: time.Minute, hub: hub, places: places, limits: limits, began: time.Now(),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Name: "errors_told_total",
			Help: "Errors told to visitors; cause is the code."}, []string{"cause"})}
	reg.MustRegister(d.errors)
	return d
}

// Conversation is one connection's. Its methods are called one after another.
type Conversation struct {
	desk    *Desk
	link    Link
	from    netip.Prefix
	room    room.Name
	session *hub.Session
	at      int64         // when credit was counted, in ms of the desk's clock
	since   int64         // when numbers was counted
	until   int64         // when a join must have come, while there is no session
	credit  int32         // messages that may come at once
	retry   time.Duration // until the address may take another place
	numbers int16         // new numbers that may be taken at once
	spoke   bool          // a message has come
	done    bool          // the link is closing: nothing is served any more
}

// Verify tells whose place an opened connection offers, if it is good for the room.
func (d *Desk) Verify(ctx context.Context, place, name string) (room.VisitorID, bool) {
	n, err := room.ParseName(name)
	if err != nil {
		return "", false
	}
	p, err := d.places.ParsePlace(ctx, place, n)
	return p.Visitor, err == nil
}

// Full reports that newcomers are better off on another node.
func (d *Desk) Full() bool { return d.hub.Full() }

// Begin starts a conversation about a room as a visitor named it. from is the address
// whose limits count; zero: none do.
func (d *Desk) Begin(name string, from netip.Prefix, link Link) Conversation {
	c := Conversation{desk: d, link: link, from: from, credit: messageBurst, numbers: numberBurst, at: d.now(), since: d.now()}
	var err error
	// A copy: the name is a part of the request line, which would stay with it.
	if c.room, err = room.ParseName(strings.Clone(name)); err != nil {
		c.Refuse(wire.BadRoom)
		return c
	}
	c.until = c.at + firstWithin.Milliseconds()
	link.Within(firstWithin)
	return c
}

func (d *Desk) now() int64 { return time.Since(d.began).Milliseconds() }

// Done reports that the link was told to close: what still comes is not read.
func (c *Conversation) Done() bool { return c.done }

// End is called once, when the connection is gone. The place stays in the line.
func (c *Conversation) End() {
	c.done = true
	if c.session != nil {
		c.session.Detach(c.link)
		c.session = nil
	}
}

// Expired is called when the time for the next message is over.
func (c *Conversation) Expired() {
	if c.done {
		return
	}
	if !c.spoke {
		c.Refuse(wire.NoHello)
		return
	}
	c.done = true
	c.link.Close(wire.NoHello) // why it waits, it was told when it was refused
}

// Message does what one message asks. ctx bounds the calls to the line.
func (c *Conversation) Message(ctx context.Context, text []byte) {
	if c.done {
		return
	}
	req, err := wire.DecodeRequest(text)
	var bad *wire.DecodeError
	switch {
	case errors.As(err, &bad):
		c.Refuse(bad.Code)
		return
	case !c.spend():
		c.Refuse(wire.TooFast)
		return
	}
	c.spoke = true
	if code := c.serve(ctx, req); code != "" {
		c.Refuse(code)
		if c.done {
			return
		}
		// It hears how the room stands, after why it was refused.
		switch {
		case req.Type != wire.Join:
		case c.session == nil:
			c.session = c.desk.hub.Watch(c.room, c.link)
		default:
			c.session.Remind()
		}
	}
	switch {
	case c.session != nil:
		c.link.Within(0)
	case req.Type == wire.Join:
		c.until = c.desk.now() + c.desk.Again.Milliseconds()
		fallthrough
	default: // what is no join buys no time
		c.link.Within(time.Duration(max(1, c.until-c.desk.now())) * time.Millisecond)
	}
}

// Refuse tells why, and closes where the table says so.
func (c *Conversation) Refuse(code wire.Code) {
	if c.done {
		return
	}
	c.desk.errors.WithLabelValues(string(code)).Inc()
	if code == wire.AddressLimit {
		c.link.Send(wire.EncodeErrorRetry(code, c.retry))
	} else {
		c.link.Send(wire.EncodeError(code))
	}
	if wire.Codes[code].Close != 0 {
		c.done = true
		c.link.Close(code)
	}
}

// serve does what a message asks and returns what stood in the way, or "".
func (c *Conversation) serve(ctx context.Context, req wire.Request) wire.Code {
	if req.Type != wire.Join && (c.session == nil || !c.session.HasPlace()) {
		return wire.NotJoined
	}
	var err error
	switch req.Type {
	case wire.Claim:
		err = c.session.Claim(ctx)
	case wire.Leave:
		err = c.session.Leave(ctx)
	case wire.Join:
		err = c.join(ctx, req.Place)
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errTooFast):
		return wire.TooFast
	case errors.Is(err, errCrowded):
		return wire.AddressLimit
	}
	return wire.PlaceCode(err)
}

// join comes with a place ("": none). A connection that has one already is
// answered as a return to it: a page that asks twice must not lose its turn. What
// was there before stays until the new answer is.
func (c *Conversation) join(ctx context.Context, place string) error {
	before := c.session
	var now *hub.Session
	var err error
	switch {
	case place != "":
		var p token.Place
		if p, err = c.desk.places.ParsePlace(ctx, place, c.room); err == nil {
			now, err = c.desk.hub.Return(ctx, c.room, p.Epoch, p.Place, c.link)
		}
	case before != nil && !before.Over():
		now, err = before.Again(ctx, c.link)
	case !c.hasNumber():
		return errTooFast
	case c.crowded():
		return errCrowded
	default:
		if now, err = c.desk.hub.Join(ctx, c.room, c.link); err == nil {
			c.numbers--
		} else {
			// A crowd that asks at a closed door must not be out of places when it opens.
			c.desk.limits.Unjoin(c.from)
		}
		if errors.Is(err, room.ErrEpoch) {
			err = room.ErrAway // the line was made anew meanwhile: no fault of the visitor
		}
	}
	if err != nil {
		return err
	}
	if before != nil && before != now {
		before.Detach(c.link)
	}
	c.session = now
	return nil
}

// errTooFast refuses a join of a connection that has taken too many numbers.
var errTooFast = errors.New("too many numbers for one connection")

// errCrowded refuses a join because its address has taken too many places.
var errCrowded = errors.New("too many places for one address")

// crowded takes a place from the budget of the address; if there is none, it notes
// when to ask again.
func (c *Conversation) crowded() bool {
	c.retry = c.desk.limits.Join(c.from)
	return c.retry > 0
}

// hasNumber reports that the connection may take another number.
func (c *Conversation) hasNumber() bool {
	n := int64(c.numbers)
	refill(&n, &c.since, c.desk.now(), numberEvery.Milliseconds(), numberBurst)
	c.numbers = int16(n)
	return n > 0
}

// spend takes one message from the allowance.
func (c *Conversation) spend() bool {
	n := int64(c.credit)
	refill(&n, &c.at, c.desk.now(), 1000/messageRate, messageBurst)
	ok := n > 0
	if ok {
		n--
	}
	c.credit = int32(n)
	return ok
}

// refill adds to a budget one for every so many ms since it was counted, up to most.
func refill(n, at *int64, now, every, most int64) {
	gained := (now - *at) / every
	*n += gained
	*at += gained * every
	if *n >= most {
		*n, *at = most, now
	}
}
