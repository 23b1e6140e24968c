// Package seatmap keeps the map of each room's seats as it is sent, so that a crowd
// that looks at it costs the database one read.
package seatmap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// maxAge is how old a map may be: the database reads each room four times a
// second and booker at most, however many visitors look. A visitor who asks for a
// seat that was taken meanwhile is told so by the hold.
const maxAge = 250 * time.Millisecond

// maxRooms bounds the rooms remembered; further ones are read each time. A room
// that can't be read is forgotten, so strangers fill nothing.
const maxRooms = 1000

// seatMap is one room's map as it is sent. A body is never changed.
type seatMap struct {
	turn chan struct{} // of one: who has the token may read, and owns the rest
	body []byte
	etag string
	read time.Time
}

// Maps keeps the map of each room.
type Maps struct {
	load func(context.Context, room.Name) ([]seat.Seat, error)

	mu    sync.Mutex
	rooms map[room.Name]*seatMap // guarded by mu
}

// New returns maps of the seats that load reads.
func New(load func(context.Context, room.Name) ([]seat.Seat, error)) *Maps {
	return &Maps{load: load, rooms: map[room.Name]*seatMap{}}
}

// Of returns the map of a room and its ETag, the same on every booker for the
// same seats. Visitors who come while it is read wait for that read.
func (m *Maps) Of(ctx context.Context, name room.Name) (body []byte, etag string, err error) {
	m.mu.Lock()
	s := m.rooms[name]
	if s == nil {
		s = &seatMap{turn: make(chan struct{}, 1)}
		if len(m.rooms) < maxRooms {
			m.rooms[name] = s // now, so that everybody waits for one read
		}
	}
	m.mu.Unlock()
	arrived := time.Now()
	select {
	case <-ctx.Done():
		return nil, "", ctx.Err()
	case s.turn <- struct{}{}:
	}
	defer func() { <-s.turn }()
	// The age is this process's own, so it runs on the monotonic clock.
	began := time.Now()
	// A read that takes longer than maxAge is still the answer for everybody who
	// came before it began; otherwise they would read one after another.
	if s.body != nil && (began.Sub(s.read) < maxAge || !s.read.Before(arrived)) {
		return s.body, s.etag, nil
	}
	seats, err := m.load(ctx, name)
	if err != nil {
		m.mu.Lock()
		if s.body == nil && m.rooms[name] == s {
			delete(m.rooms, name) // it may be a room that does not exist
		}
		m.mu.Unlock()
		return nil, "", err
	}
	s.body, err = json.Marshal(struct {
		Seats []seat.Seat `json:"seats"`
	}{seats})
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(s.body)
	s.etag, s.read = `"`+hex.EncodeToString(sum[:12])+`"`, began
	return s.body, s.etag, nil
}
