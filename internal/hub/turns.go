package hub

import (
	"context"
	"errors"
	"slices"
	"time"

	"waitroom/internal/room"
)

// turns is one turn tick: who left the line and was not told, or waited a
// deadline out, is looked up in one call.
func (c *roomHub) turns(ctx context.Context, start time.Time) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	c.mu.Lock()
	mark, known := c.mark, c.known
	c.mu.Unlock()
	if !known {
		return // the position tick or a batch reads the room first
	}
	t, err := c.all.line.Turn(ctx, c.name, c.turnFrom)
	if err != nil {
		c.all.metrics.failed("turn", err)
		return
	}
	c.turnFrom = int64(t.Head >> 3)
	if t.Seq < mark {
		return // the line lost writes: it would call everybody spent
	}
	c.mu.Lock()
	c.settle()
	c.asked = c.candidates(c.asked[:0], t, start)
	epoch := c.epoch
	c.mu.Unlock()
	if len(c.asked) == 0 {
		return
	}
	c.places = c.places[:0]
	for _, v := range c.asked {
		c.places = append(c.places, v.place)
	}
	stands, err := c.all.line.Stands(ctx, c.name, c.places)
	if err != nil {
		c.all.metrics.failed("stands", err)
		if errors.Is(err, room.ErrUnknown) {
			c.forget()
		}
		clear(c.asked)
		return
	}
	for i, v := range c.asked {
		// Waiting: the two reads were of different moments; the next tick asks
		// again.
		if stands[i].Standing != room.Waiting && v.epoch == epoch {
			v.stand(stands[i], nil)
		}
	}
	clear(c.asked)
	c.all.metrics.late.Observe(time.Since(start).Seconds())
}

// candidates appends whom to look up, in order of number, at most MaxBatch: the
// others are still candidates at the next tick. The caller holds mu.
func (c *roomHub) candidates(to []*Session, t room.Turn, now time.Time) []*Session {
	full := func() bool { return len(to) >= room.MaxBatch }
	end := room.Number(t.GoneFrom+int64(len(t.Gone))) << 3
	for _, i := range c.waiting {
		if full() || i.number > t.Seq || (i.number >= t.Head && i.number >= end) {
			break
		}
		if i.number < t.Head || left(t, i.number) {
			to = append(to, i.session)
		}
	}
	// The position tick saw the whole bitmap: these left from far behind.
	for _, v := range c.suspect {
		if !full() && v.standing() == waits && v.place.Number >= end {
			to = append(to, v)
		}
	}
	c.suspect = slices.Delete(c.suspect, 0, len(c.suspect))
	for _, v := range c.rest {
		if full() {
			break
		}
		if s := v.standing(); (s == admitted || s == inside) && v.due(now) {
			to = append(to, v)
		}
	}
	return to
}

// left reports whether the bit of a number in the window is set.
func left(t room.Turn, n room.Number) bool {
	i := int64(n>>3) - t.GoneFrom
	return i >= 0 && i < int64(len(t.Gone)) && t.Gone[i]&(0x80>>(n&7)) != 0
}

// due reports that the session's deadline is over: the claim was missed, or the
// pass has expired.
func (v *Session) due(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !now.Before(v.deadline)
}
