package seatmap

import (
	"context"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// Sizes that tests count with.
const (
	PurgeRows = purgeRows
	KeepLog   = keepLog
	PerPass   = perPass
	GapFor    = gapFor
)

// Repair sets how often rooms are read whole; before Run.
func (m *Maps) Repair(every time.Duration) { m.repairEvery = every }

// Purge is one step of the purge.
func (m *Maps) Purge(ctx context.Context, before time.Time) (int64, error) {
	return m.purge(ctx, before)
}

// Forget is one turn of the purge's loop.
func (m *Maps) Forget(ctx context.Context) (more bool, err error) { return m.forget(ctx) }

// Rooms are those in memory, and their seats.
func (m *Maps) Rooms() (rooms, seats int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.halls), m.seats
}

// Streams are those that are open.
func (m *Maps) Streams() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// Reading reports whether the log is followed.
func (m *Maps) Reading() bool {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	return m.feed.known
}

// Late makes it so much later for the ids that were passed over.
func (m *Maps) Late(by time.Duration) {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	m.feed.age += by
}

// Unread makes the last good read of the log so much longer ago.
func (m *Maps) Unread(by time.Duration) {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	m.feed.read = m.feed.read.Add(-by)
}

// Gaps is how many ids that were passed over are asked for again.
func (m *Maps) Gaps() int {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	return len(m.feed.gaps)
}

// Age makes a room look as if nobody had asked for that long.
func (m *Maps) Age(name room.Name, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.halls[name].looked = m.halls[name].looked.Add(-by)
}

// At is the id up to which the log was read and shown.
func (m *Maps) At() int64 { return m.shown.Load() }

// PlanOf is the plan of seats, as JSON.
func PlanOf(seats []seat.Seat) string { return string(newPlan(seats).body.plain) }
