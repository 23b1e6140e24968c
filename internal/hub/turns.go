package hub

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"waitroom/internal/room"
)

// turnTick is owned by the turn tick that is under way, but for good; what is in it
// is reused.
type turnTick struct {
	good   atomic.Int64 // when the last good one began, on the node's clock
	head   room.Number  // the last one: the next read begins there
	look   []*Session
	lapsed []*Session
	places []room.Place
}

// tellTurns is one turn tick: who left the line and was not told, or waited a
// deadline out, is looked up in one call.
func (r *roomHub) tellTurns(ctx context.Context, start time.Time) {
	t := &r.turns
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if !r.view.isKnown() {
		return // the position tick or a batch reads the room first
	}
	by, began := r.view.caller(), r.hub.now()
	turn, err := r.hub.line.Turn(ctx, r.name, int64(t.head>>3))
	r.hub.failed(ctx, "turn", err)
	if err != nil {
		return
	}
	r.lives(turn.Life)
	lives := r.roster.lived()
	if turn.Head != t.head {
		t.head = turn.Head
		r.stir() // somebody left the line in front
	}
	// A line that lost writes knows less than this node, and admits all the same for
	// an admitter that saw no more. So whoever is at or below its last number is looked
	// up as ever; those above it are told nothing.
	var told int
	t.look, told, t.lapsed = r.roster.candidates(t.look[:0], t.lapsed[:0], turn, r.hub.now())
	for _, s := range t.lapsed {
		s.lapse()
	}
	defer func() { // no session is kept alive by a look-up
		clear(t.look)
		clear(t.lapsed)
	}()
	if len(t.look) > 0 && told > 0 {
		r.stir()
	}
	if len(t.look) == 0 {
		t.good.Store(int64(began))
		return
	}
	t.places = t.places[:0]
	for _, s := range t.look {
		t.places = append(t.places, s.place)
	}
	stands, err := r.hub.line.Stands(ctx, r.name, t.places)
	r.hub.failed(ctx, "stands", err)
	if err != nil {
		if errors.Is(err, room.ErrUnknown) {
			r.view.forget()
		}
		return
	}
	for i, s := range t.look {
		// Waiting, of who was taken for admitted: the two reads were of different
		// moments; the next tick asks again. Of who was told so before: the line has
		// lost it. Who is not known to it stays, and is brought back.
		if stands[i].Standing == room.Waiting {
			r.view.doubt()
		}
		switch {
		case s.epoch != by.Epoch:
		case stands[i].Standing == room.Unseen:
			r.roster.lost(s)
			s.apply(isUnseen, stands[i], nobody, nil)
		case stands[i].Standing != room.Waiting || i >= told:
			s.apply(eventOf(stands[i].Standing), stands[i], s.owed(), nil)
		}
	}
	r.roster.looked(t.look[told:], lives)
	if len(t.look) < room.MaxBatch { // else others are below the head, unasked
		t.good.Store(int64(began))
	}
	r.hub.metrics.late.Observe(time.Since(start).Seconds())
}
