package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// view is what this node knows of one line.
type view struct {
	// Set once.
	name    room.Name
	process string // goes with every writing call
	spread  time.Duration
	line    reads
	failed  func(ctx context.Context, call string, err error)
	// reading is held by whoever reads: a read that began before another must not
	// come after it, or it would bring an older line back.
	reading chan struct{}

	mu       sync.Mutex
	epoch    room.Epoch
	mark     room.Number // high-water mark: the greatest number the line told in this epoch
	conf     room.Conf
	saved    room.Saved // the latest conf ever read of this epoch, to bring a lost line back
	savedRev int64      // of its conf
	ahead    bool       // it is later than the line's: the line lost an operator's act
	known    bool       // conf and epoch are of a read since somebody is here
	from     int64      // byte of the last head: the next read begins there
	lost     bool       // the registry lists the room no more, and no tombstone says why
	good     time.Time  // start of the last good read, or of the first session since
	began    time.Time  // start of the last read that was answered
	shown    shown

	memory memory

	framed    []byte // the last frame of frame; nil: none yet
	frameRev  uint32
	frameBeat time.Duration
}

func newView(name room.Name, process string, line reads, failed func(context.Context, string, error)) view {
	return view{name: name, process: process, spread: spreadOf(name), line: line, failed: failed, reading: make(chan struct{}, 1)}
}

// shown is what everybody in the room is told about it, and its revision.
type shown struct {
	rev     uint32
	state   room.Shown
	notice  string
	opensAt time.Time // on the line's clock, to see a change
	opens   time.Time // the same on this node's clock; zero when nobody knows
}

func (s shown) frame(now time.Time, beat time.Duration) []byte {
	m := wire.RoomMessage{Type: wire.Room, State: s.state, Notice: s.notice, BeatMS: beat.Milliseconds()}
	if s.state == room.ShownOpening && !s.opens.IsZero() {
		left := max(0, s.opens.Sub(now).Milliseconds())
		m.OpensMS = &left
	}
	return wire.Encode(m)
}

// frame is shown.frame, kept for as long as it says the same: a crowd that arrives at
// once hears it a thousand times. Nobody changes its bytes.
func (v *view) frame(s shown, now time.Time, beat time.Duration) []byte {
	if !s.opens.IsZero() {
		return s.frame(now, beat) // it counts down
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.framed == nil || v.frameRev != s.rev || v.frameBeat != beat {
		v.framed, v.frameRev, v.frameBeat = s.frame(now, beat), s.rev, beat
	}
	return v.framed
}

// read takes a snapshot and keeps what it says about the room. anew: the line is
// another one than before, and places of the older one are worth nothing in it.
func (v *view) read(ctx context.Context) (s room.Snapshot, anew bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	select {
	case v.reading <- struct{}{}:
		defer func() { <-v.reading }()
	case <-ctx.Done():
		return s, false, fmt.Errorf("%w: another read takes its time", room.ErrAway)
	}
	began := time.Now()
	v.mu.Lock()
	mark, from := v.mark, v.from // before the read: numbers given meanwhile are above its seq
	pulse, pulsed := v.memory.before()
	v.mu.Unlock()
	s, err = v.line.Snapshot(ctx, v.name, from)
	v.failed(ctx, "snapshot", err)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory.sound = false
	if err != nil {
		if errors.Is(err, room.ErrUnknown) {
			v.known = false
		}
		return s, false, err
	}
	v.began = began
	old := v.epoch
	if old != s.Conf.Epoch {
		v.epoch, v.mark, mark = s.Conf.Epoch, 0, 0
	}
	anew = old != s.Conf.Epoch && old != ""
	v.conf, v.known, v.from = s.Conf, true, int64(s.Head>>3)
	if v.ahead = old == s.Conf.Epoch && s.Conf.Rev < v.savedRev; !v.ahead {
		v.saved, v.savedRev = s.Saved, s.Conf.Rev
	}
	if s.Seq < mark {
		v.show(shown{state: room.ShownRecovering})
		return s, anew, room.ErrRecovering
	}
	v.mark = max(v.mark, s.Seq)
	m := &v.memory
	m.snapshot, m.at, m.sound, m.pulse, m.pulsed = s, began, true, pulse, pulsed
	now := shown{state: v.stateOf(s), notice: s.Conf.Notice, opensAt: s.Conf.OpensAt}
	if !now.opensAt.IsZero() {
		now.opens = time.Now().Add(now.opensAt.Sub(s.Now))
	}
	if !v.ahead { // else what was shown last is what an operator said last
		v.show(now)
	}
	return s, anew, nil
}

// recovers reports that the line waits for those whom it lost to come back.
func recovers(s room.Snapshot) bool { return s.Life.Asking || s.Now.Before(s.Life.HoldUntil) }

// stateOf is what is shown of a read. That the line recovers is what everybody is told;
// closed and sold out it is all the same.
func (v *view) stateOf(s room.Snapshot) room.Shown {
	state := s.Conf.Shown(s.Waiting, s.Now)
	if recovers(s) && state != room.ShownClosed && state != room.ShownSoldOut {
		return room.ShownRecovering
	}
	return state
}

// show changes what is told about the room; the position tick tells it. The caller
// holds mu.
func (v *view) show(s shown) {
	if v.lost {
		s = shown{state: room.ShownRecovering}
	}
	s.rev = v.shown.rev
	if s.state != v.shown.state || s.notice != v.shown.notice || !s.opensAt.Equal(v.shown.opensAt) {
		s.rev++
	}
	v.shown = s
}

// lose notes whether the registry has lost the room; begins: it did just now.
func (v *view) lose(lost bool) (begins bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	begins = lost && !v.lost
	v.lost = lost
	return begins
}

// remembers is what this node knows of the line, and whether that is later than what the
// line itself says.
func (v *view) remembers() (saved room.Saved, ahead bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.saved, v.ahead
}

// isLost reports that the registry has lost the room.
func (v *view) isLost() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lost
}

// trouble shows a state that no read told.
func (v *view) trouble(state room.Shown) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.show(shown{state: state})
}

// told is what is shown now.
func (v *view) told() shown {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown
}

// now is what is shown, and the epoch it is of.
func (v *view) now() (shown, room.Epoch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown, v.epoch
}

// succeeded notes the start of a read that was good.
func (v *view) succeeded(start time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.good = start
}

// stale is how old the last good read was at a moment.
func (v *view) stale(at time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return at.Sub(v.good)
}

// forget makes the next batch read the conf again.
func (v *view) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known = false
}

// rest forgets what was read while somebody was here: it is not followed any more.
func (v *view) rest() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known, v.memory = false, memory{}
}

func (v *view) isKnown() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known
}

// since is the epoch, and whether a read that began at or after a moment tells it.
func (v *view) since(at time.Time) (room.Epoch, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.epoch, !v.began.Before(at)
}

// caller goes with every writing call.
func (v *view) caller() room.Caller {
	v.mu.Lock()
	defer v.mu.Unlock()
	return room.Caller{Epoch: v.epoch, Mark: v.mark, Process: v.process}
}

// saw raises the high-water mark of an epoch. n is of an answer of the line: a place
// that somebody shows may be one that the line has lost, and a mark above the line's
// last number has every call refused.
func (v *view) saw(epoch room.Epoch, n room.Number) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if epoch == v.epoch {
		v.mark = max(v.mark, n)
	}
}

// shop is where a pass of this room opens, unless the conf names no place.
func (v *view) shop(otherwise string) string {
	v.mu.Lock()
	url := v.conf.ShopURL
	v.mu.Unlock()
	if url == "" {
		url = otherwise
	}
	return strings.ReplaceAll(url, "{room}", string(v.name))
}
