package seatmap

import (
	"context"
	"math/rand/v2"
	"time"

	"waitroom/internal/outage"
)

const (
	// keepLog is how long a row of the log stays: a booker that could not read for
	// half of it reads its rooms anew.
	keepLog = 5 * time.Minute
	// purgeEvery is about how often old rows are looked for, purgeRows how many go in
	// one statement; a full step is followed by another at once.
	purgeEvery = 10 * time.Second
	purgeRows  = 500
)

// purgeLoop deletes old rows until ctx ends. Every booker does it: what one has
// deleted another does not find.
func (m *Maps) purgeLoop(ctx context.Context) {
	failing := outage.New(outage.Config{Log: m.parts.Log, Down: "old rows of the seat map's log can't be deleted; trying again",
		Up: "old rows of the seat map's log are deleted again"})
	for {
		more, err := m.forget(ctx)
		if ctx.Err() != nil {
			return
		}
		failing.Note(ctx, err)
		if err == nil && more {
			continue
		}
		timer := time.NewTimer(purgeEvery/2 + rand.N(purgeEvery)) // bookers don't meet
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// forget deletes old rows, by a clock that can be trusted: one that is ahead would delete what
// others have not read yet.
func (m *Maps) forget(ctx context.Context) (more bool, err error) {
	now, sure := m.parts.Now()
	if !sure {
		return false, nil // said by who has the clock; what is old is still there later
	}
	n, err := m.purge(ctx, now.Add(-keepLog))
	return n == purgeRows, err
}

// purge deletes the oldest rows that were written before a moment. They are named by
// a range of the key, so that the statement meets no row that somebody writes. The
// newest row stays, however old: its id is what a booker that begins to read says that
// it has read to, and an empty log would have whoever comes from another one wait.
func (m *Maps) purge(ctx context.Context, before time.Time) (deleted int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	var rows []struct {
		ID   int64 `db:"id"`
		AtMS int64 `db:"at_ms"`
	}
	err = m.parts.DB.SelectContext(ctx, &rows, "SELECT id, at_ms FROM seat_log ORDER BY id LIMIT ?", purgeRows+1)
	if err != nil {
		return 0, err
	}
	last := -1
	// Up to the last one that is old: one whose writer's clock was ahead keeps no other.
	for i, r := range rows[:max(0, len(rows)-1)] {
		if r.AtMS < before.UnixMilli() {
			last = i
		}
	}
	if last < 0 {
		return 0, nil
	}
	return m.parts.DB.Write(ctx, "DELETE FROM seat_log WHERE id >= ? AND id <= ?", rows[0].ID, rows[last].ID)
}
