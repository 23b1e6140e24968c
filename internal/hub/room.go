package hub

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// roomHub is this node's part of one room.
type roomHub struct {
	// Set once.
	hub  *Hub
	name room.Name
	ctx  context.Context // of all that is done for the room; ends with it
	stop context.CancelFunc

	roster    roster
	view      view
	joins     joins
	positions positionTick
	turns     turnTick
	awake     atomic.Bool   // somebody is here; written with the roster's mu held
	next      atomic.Int64  // when positions are told next, on the node's clock
	until     atomic.Int64  // until when turns are looked for, on the node's clock
	changing  atomic.Int64  // until when a pulse that changed brings no tick of its own, on the node's clock
	soon      atomic.Bool   // a position tick is due beside those of the room's phase
	telling   atomic.Bool   // a position tick is under way
	turning   atomic.Bool   // a turn tick is under way
	bringing  atomic.Bool   // a pass of bringBack is under way
	giving    atomic.Bool   // a call of giveBack is under way
	reporting atomic.Bool   // a call of report is under way
	restoring atomic.Bool   // a call of restore is under way
	eventDue  atomic.Bool   // the line may have lost its event: restore is to tell it
	restored  time.Duration // when the registry lost the room, or it was restored last; owned by registry

	// Owned by pulsed, which the directory calls for one pulse of a room after another.
	losses   int64 // of the line, by the last pulse
	followed bool  // there was one

	// Whom this node sees, as the line hears it; times on the node's clock.
	said     atomic.Int64 // when it was said last, or its turn came
	failing  atomic.Int64 // start of the first call without an answer since the last that had one; 0: none
	rev      atomic.Int64 // of the conf, by the last pulse
	saying   atomic.Bool  // it is queued, or being said
	sentAway atomic.Bool  // in this outage, or there was nobody to send
}

func newRoomHub(hub *Hub, name room.Name) *roomHub {
	r := &roomHub{hub: hub, name: name, roster: newRoster(), view: newView(name, hub.process, hub.line, hub.failed)}
	r.joins.lane.Name = hub.lane()
	// Rooms that are found together, as after a start, do not all speak together; but each
	// soon, so that half of the least grace is counted from early on.
	first := sayEvery(room.MinGrace) * time.Duration(spreadOf(name).Milliseconds()) / time.Duration(rereadSpread.Milliseconds())
	r.said.Store(int64(hub.now() - sayEvery(room.DefaultGrace) + first))
	return r
}

// enter and exit count who keeps the ticks awake. A room that nobody watched was
// not read: its age counts from the first one here.
func (r *roomHub) enter() error {
	r.roster.mu.Lock()
	defer r.roster.mu.Unlock()
	if r.roster.closed {
		return room.ErrUnknown
	}
	r.roster.people++
	if r.roster.people == 1 {
		r.view.rest() // a tick may have been under way when the last one left
		r.view.succeeded(time.Now())
		r.stir()
		r.next.Store(0)
		r.awake.Store(true)
	}
	return nil
}

func (r *roomHub) exit() {
	r.roster.mu.Lock()
	defer r.roster.mu.Unlock()
	r.roster.people--
	if r.roster.people == 0 {
		r.awake.Store(false)
		r.view.rest()
	}
}

// read takes a read of the line. A line made anew ends everybody here of the older
// one.
func (r *roomHub) read(ctx context.Context) (room.Snapshot, error) {
	s, anew, err := r.view.read(ctx)
	if anew {
		r.dismiss(s.Conf.Epoch, wire.PlaceEpoch)
	}
	if err == nil {
		r.lives(s.Life.ID)
	}
	return s, err
}

// lives takes the life of the line that a read showed. In another one than before what
// was told may be lost: an admission is taken back, or its place is unknown, and no number
// above the line's last tells that. So everybody who was told of a turn is looked up. And
// whoever brought the line back may not have known what the sale is for.
func (r *roomHub) lives(id string) {
	if another, first := r.roster.relive(id); another {
		r.stir()
		r.eventDue.Store(!first)
	}
}

// ready makes sure that the conf is known, and with it the epoch to ask for.
func (r *roomHub) ready(ctx context.Context) error {
	if r.view.isKnown() {
		return nil
	}
	_, err := r.read(ctx)
	return err
}

// end is for a room that is gone: tells everybody and stops the goroutines.
func (r *roomHub) end(code wire.Code) {
	r.dismiss("", code)
	r.stop()
	fail(r.joins.close(), room.ErrDeleted)
	r.hub.metrics.drop(r.name)
}

// gone reports that the room was ended.
func (r *roomHub) gone() bool {
	r.roster.mu.Lock()
	defer r.roster.mu.Unlock()
	return r.roster.closed
}

// dismiss tells everybody who is not of the epoch to keep why it is over.
func (r *roomHub) dismiss(keep room.Epoch, code wire.Code) {
	for _, s := range r.roster.dismiss(keep) {
		s.dismiss(code)
		r.roster.moved(s)
	}
}

// caller goes with a writing call for one place: the high-water mark is of its
// epoch, or none.
func (r *roomHub) caller(epoch room.Epoch) room.Caller {
	c := r.view.caller()
	if c.Epoch != epoch {
		return room.Caller{Epoch: epoch, Process: r.hub.process}
	}
	return c
}

// known is for what the line says of a room that this node has served: it can't
// be one that there never was. Without a tombstone the line has lost it.
func (r *roomHub) known(err error) error {
	switch {
	case !errors.Is(err, room.ErrUnknown):
		return err
	case r.hub.listed.Deleted(r.name):
		return room.ErrDeleted
	}
	return room.ErrRecovering
}
