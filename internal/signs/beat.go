// Package signs is how processes show that they live, and what their signs say
// together: which admitters and nodes there are, and why a room stands still.
// Nothing that a visitor meets depends on it.
package signs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

// callLimit bounds one write, so that a hanging Redis costs the beats it hangs
// and the last one delays no stop for longer.
const callLimit = time.Second

// signer is what a beat needs of the line.
type signer interface {
	Sign(context.Context, room.Sign) error
}

// Beat signs for one process, once a second. Owned by the goroutine of Run.
type Beat struct {
	line    signer
	self    room.Sign
	rooms   func() []room.RoomSign
	started time.Time
	outage  *outage.Log
	last    []room.RoomSign // as last said; the rooms are gone when the process stops
}

// NewBeat makes the beat of this process. rooms is asked once a second and must
// not wait for anything; version is the build's.
func NewBeat(line signer, role room.Role, version string, rooms func() []room.RoomSign, log *zap.Logger) *Beat {
	var id [6]byte
	rand.Read(id[:])
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	self := room.Sign{ID: hex.EncodeToString(id[:]), Role: role, Host: host, PID: os.Getpid(), Version: version}
	return &Beat{line: line, self: self, rooms: rooms, started: time.Now(), outage: outage.New(outage.Config{Log: log,
		Down: "sign of life not written: status does not see this process, all else goes on",
		Up:   "signs of life are written again"})}
}

// ID is the process's name in its signs. Whatever else it writes into the line is
// signed with the same one: its lanes begin with it.
func (b *Beat) ID() string { return b.self.ID }

// Run signs until ctx ends, then once more that it stopped. A Redis that is away
// costs nothing but the signs: the next beat is the next try, and there is one
// call at a time.
func (b *Beat) Run(ctx context.Context) error {
	ticker := time.NewTicker(room.SignEvery)
	defer ticker.Stop()
	for {
		b.sign(ctx, false)
		select {
		case <-ctx.Done():
			b.sign(context.WithoutCancel(ctx), true)
			return nil
		case <-ticker.C:
		}
	}
}

func (b *Beat) sign(ctx context.Context, stopped bool) {
	// The last sign repeats what was known: what others count from would else end
	// with every restart.
	if !stopped {
		b.last = b.rooms()
	}
	sign := b.self
	sign.UpMS, sign.Stopped, sign.Rooms = time.Since(b.started).Milliseconds(), stopped, b.last
	call, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	b.outage.Note(ctx, b.line.Sign(call, sign))
}
