package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// describeBatch is how many events are read and published at once: 2 MB when
	// each has the largest logo.
	describeBatch = 50
	// lookLimit bounds one look, most of which may be a Kafka that is away. The next
	// one begins where it ended.
	lookLimit = 30 * time.Second
)

// described is what the describer needs of the line; all only read.
type described interface {
	EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error)
	Event(context.Context, room.Name) (room.Event, error)
	// Deleted says that a room was ended for good, by a tombstone.
	Deleted(context.Context, room.Name) (bool, error)
}

// describer tells Kafka what each room's sale is for, so that the shop's pages say
// the same as the line's. The topic is compacted: the last record of a room counts.
//
// It looks at the versions of all rooms served, once per read of the registry, and
// publishes those that this process has not published in that version: at a start,
// all of them, which readers absorb. There is no queue: what could not be published
// is found again by the next look, so a Kafka that is away costs one attempt at a
// time and no memory, and what lies in between is never told.
//
// A room that is gone gets a tombstone from every admitter that described it and
// saw it gone. If the room was made anew, each of them describes it after its own
// tombstone, so the last word is never a tombstone of a room that exists. A room
// deleted while no admitter ran keeps its last record. A room that Redis lost says
// nothing: neither that it is gone nor, when it is back without it, an empty event.
type describer struct {
	line      described
	publisher publisher
	// read takes each event that was read, with its line's epoch; lost a room whose line
	// tells an older event than that. Neither blocks. Set once, before run.
	read  func(name room.Name, epoch room.Epoch, event room.Event)
	lost  func(name room.Name, has int64)
	rooms chan servedRooms // of one: the rooms served, as last read

	// owned by run
	published map[room.Name]room.EventRev // acknowledged; at most as many as were served at once
	looked    map[room.Name]confRev       // where nothing was left to tell; of those served
	outage    *outage.Log
}

// servedRooms are the rooms served, sorted, and of those that rest the versions of
// their confs, which change with the event: a room whose version was looked at is
// not looked at again.
type servedRooms struct {
	names []room.Name
	known map[room.Name]confRev
}

func newDescriber(line described, publisher publisher, log *zap.Logger) *describer {
	return &describer{line: line, publisher: publisher,
		read: func(room.Name, room.Epoch, room.Event) {}, lost: func(room.Name, int64) {},
		rooms: make(chan servedRooms, 1), published: map[room.Name]room.EventRev{}, looked: map[room.Name]confRev{},
		outage: outage.New(outage.Config{Log: log, Down: "the shop can't be told what a room's sale is for, trying again",
			Up: "the shop is told again what each room's sale is for"})}
}

// serve hands over the rooms served, in place of those not yet looked at. It never
// blocks; one goroutine calls it.
func (d *describer) serve(names []room.Name, known map[room.Name]confRev) {
	select {
	case <-d.rooms:
	default:
	}
	d.rooms <- servedRooms{names, known}
}

func (d *describer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case served := <-d.rooms:
			d.outage.Note(ctx, d.look(ctx, served))
		}
	}
}

// version is a record and what is known once Kafka has it.
type version struct {
	name   room.Name
	rev    room.EventRev
	gone   bool
	record events.Record
}

// look publishes what is new. A room whose event can't be read keeps no other from
// being told.
func (d *describer) look(ctx context.Context, served servedRooms) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	names := slices.DeleteFunc(slices.Clone(served.names), func(name room.Name) bool {
		known, rests := served.known[name]
		looked, has := d.looked[name]
		return rests && has && known == looked
	})
	var revs map[room.Name]room.EventRev
	if len(names) > 0 {
		var err error
		if revs, err = d.line.EventRevs(ctx, names); err != nil {
			return err
		}
	}
	// What is told now is at least as new as what was known before.
	defer func() {
		before := d.looked
		d.looked = make(map[room.Name]confRev, len(served.known))
		for name, known := range served.known {
			rev, read := revs[name]
			if told, has := before[name]; has && told == known || read && d.published[name] == rev {
				d.looked[name] = known
			}
		}
	}()
	var errs []error
	var batch []version
	flush := func() error {
		err := d.publish(ctx, batch)
		batch = batch[:0]
		return err
	}
	add := func(v version, err error) error {
		switch {
		case errors.Is(err, errNotNow):
			return nil
		case room.Retryable(err):
			return err // as will be the next one's
		case err != nil:
			errs = append(errs, err)
			return nil
		}
		if batch = append(batch, v); len(batch) < describeBatch {
			return nil
		}
		// A partition in trouble keeps the other rooms no longer than this look.
		if err := flush(); err != nil {
			errs = append(errs, err)
		}
		return ctx.Err()
	}
	for _, name := range names {
		// A room without its line has lost its data and says nothing of its event.
		rev, has := revs[name]
		before, told := d.published[name]
		if !has || told && before == rev {
			continue
		}
		if told && before.Epoch == rev.Epoch && rev.Rev < before.Rev {
			d.lost(name, rev.Rev)
			continue
		}
		if err := add(d.describe(ctx, name, rev)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.published)) {
		if _, served := slices.BinarySearch(served.names, name); served {
			continue
		}
		if err := add(d.bury(ctx, name)); err != nil {
			return err
		}
	}
	return errors.Join(append(errs, flush())...)
}

// errNotNow is a room about which nothing is to be said at this look.
var errNotNow = errors.New("not now")

func (d *describer) describe(ctx context.Context, name room.Name, rev room.EventRev) (version, error) {
	event := room.Event{}
	if rev.Rev > 0 {
		var err error
		event, err = d.line.Event(ctx, name)
		if errors.Is(err, room.ErrUnknown) || errors.Is(err, room.ErrRecovering) {
			return version{}, errNotNow // gone since
		}
		if err != nil {
			return version{}, err
		}
		if event.Rev < rev.Rev { // the conf was brought back by somebody who did not know its event
			return version{}, fmt.Errorf("room %s has lost what its sale is for, the change %d: tell it again if no process remembers it", name, rev.Rev)
		}
		rev.Rev = event.Rev // changed since
		d.read(name, rev.Epoch, event)
	}
	return version{name: name, rev: rev, record: events.EncodeDescribed(name, rev, event)}, nil
}

// bury makes a tombstone of a room that was ended: one that is merely no longer served,
// was made anew or is lost gets none.
func (d *describer) bury(ctx context.Context, name room.Name) (version, error) {
	_, err := d.line.Event(ctx, name)
	switch {
	case errors.Is(err, room.ErrUnknown):
		ended, err := d.line.Deleted(ctx, name)
		if err != nil {
			return version{}, err
		}
		if !ended {
			return version{}, errNotNow
		}
		return version{name: name, gone: true, record: events.Tombstone(name)}, nil
	case err == nil, errors.Is(err, room.ErrRecovering):
		return version{}, errNotNow
	}
	return version{}, err
}

func (d *describer) publish(ctx context.Context, batch []version) error {
	if len(batch) == 0 {
		return nil
	}
	records := make([]events.Record, len(batch))
	for i, v := range batch {
		records[i] = v.record
	}
	err := d.publisher.Publish(ctx, records)
	missing := events.Missing(err, len(batch))
	for i, v := range batch {
		if len(missing) > 0 && missing[0] == i {
			missing = missing[1:]
			continue // found again by the next look
		}
		if v.gone {
			delete(d.published, v.name)
		} else {
			d.published[v.name] = v.rev
		}
	}
	return err
}
