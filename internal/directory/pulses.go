package directory

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// readPulses reads the pulses of all rooms listed last, those of each server by
// themselves: one that hangs costs its own rooms their second.
func (d *Directory) readPulses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pulseLimit)
	defer cancel()
	var groups sync.WaitGroup // end with ctx
	for _, names := range d.line.Shards(ctx, d.listed()) {
		groups.Go(func() {
			began := time.Now()
			pulses, errs := d.line.Pulses(ctx, names)
			d.mu.Lock()
			for i, name := range names {
				if e := d.names[name]; e != nil && errs[i] == nil {
					e.pulse, e.pulsed = pulses[i], true
				}
			}
			d.mu.Unlock()
			for i, name := range names {
				for _, pulse := range d.pulse {
					pulse(name, began, pulses[i], errs[i])
				}
			}
		})
	}
	groups.Wait()
}

// listed are the rooms of the registry as it was last read.
func (d *Directory) listed() []room.Name {
	d.mu.RLock()
	defer d.mu.RUnlock()
	names := make([]room.Name, 0, d.count)
	for name, e := range d.names {
		if e.seen == d.looks && d.looks > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// stirred are the rooms whose conf changed since their event was asked for, or that
// were not asked for again looks.
func (d *Directory) stirred() (names []room.Name, revs []int64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for name, e := range d.names {
		if e.seen == d.looks && e.pulsed && (e.asks == 0 || e.told != e.pulse.Rev || d.looks-e.asks >= again) {
			names, revs = append(names, name), append(revs, e.pulse.Rev)
		}
	}
	return names, revs
}

// describeAll reads the versions of the events of rooms that changed, then those
// events that are new.
func (d *Directory) describeAll(ctx context.Context) {
	if names, pulses := d.stirred(); len(names) > 0 {
		d.dim.Note(ctx, d.describeThese(ctx, names, pulses))
	}
}

func (d *Directory) describeThese(ctx context.Context, names []room.Name, pulses []int64) error {
	revs, err := limited(ctx, func(ctx context.Context) (map[room.Name]room.EventRev, error) {
		return d.line.EventRevs(ctx, names)
	})
	if err != nil {
		return err
	}
	for i, name := range names {
		rev, has := revs[name]
		known := d.revOf(name)
		if !has || rev.Epoch == known.Epoch && rev.Rev <= known.Rev {
			d.described(name, pulses[i])
			continue // no line, or one that lost an operator's act: what is known of it stays
		}
		event := room.Event{}
		if rev.Rev > 0 {
			event, err = limited(ctx, func(ctx context.Context) (room.Event, error) { return d.line.Event(ctx, name) })
		}
		switch {
		case err == nil:
		case errors.Is(err, room.ErrUnknown), errors.Is(err, room.ErrRecovering):
			err = nil
			continue // gone since; the next look says so
		case errors.Is(err, room.ErrAway), ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
			return err
		default:
			// It will be the same until it is changed, so it is said once and read
			// again then.
			d.log.Error("a room's event can't be read, its pages show the name", zap.String("room", string(name)), zap.Error(err))
			event, err = room.Event{}, nil
		}
		d.describe(name, rev, event)
		d.described(name, pulses[i])
	}
	return nil
}

// described notes that a room's event is known as of a pulse.
func (d *Directory) described(name room.Name, rev int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.names[name]; e != nil {
		e.told, e.asks = rev, d.looks
	}
}

func (d *Directory) revOf(name room.Name) room.EventRev {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.names[name]; e != nil {
		return e.rev
	}
	return room.EventRev{}
}

func (d *Directory) describe(name room.Name, rev room.EventRev, event room.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.names[name]; e != nil {
		e.rev, e.event = rev, event
	}
}
