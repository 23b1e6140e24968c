package admission

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
)

const (
	// sampleEvery and samples bound what a board remembers: five minutes, enough
	// for a slot's life to show in a shop where people stay some minutes.
	sampleEvery = 10 * time.Second
	samples     = 31
	// pastKept is how far back a sign tells the count of admissions: a minute and
	// one sample beyond, so that a reader can tell the last minute.
	pastKept = time.Minute + sampleEvery
	// The time inside is not told from less: too few left, or for too short.
	leastGone   = 10
	leastWindow = 30 * time.Second
)

// board is what one room's rounds say in the process's sign of life. The rounds
// write it, the beat reads it.
type board struct {
	mu    sync.Mutex
	epoch room.Epoch
	cause lasting // rate and more are one
	last  room.Stop
	at    time.Time // of the last round that came about; zero for none
	moved time.Time // of the last one that found that somebody, by whomever, was admitted
	err   string
	now   sample
	slots int64
	waits int64    // visitors, as of the last round that came about
	past  []sample // the oldest first, sampleEvery apart, at most samples
}

// sample is what the line had counted at one moment.
type sample struct {
	at    time.Time
	total int64   // ever admitted
	gone  int64   // ever admitted and inside no more
	area  float64 // slots taken, summed over time: slot-seconds
}

// begin is called when the rounds know whose line they serve, with what it has
// counted. Another epoch is another line, whose counters begin at 0.
func (b *board) begin(s room.Status, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Conf.Epoch == b.epoch {
		return
	}
	b.epoch, b.slots = s.Conf.Epoch, s.Unclaimed+s.Active
	b.now = sample{at: at, total: s.Stats.Admitted, gone: s.Stats.Admitted - b.slots}
	b.past = []sample{b.now}
}

// round notes a round that came about.
func (b *board) round(r room.Round, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stop := r.Stop
	if stop == room.StopMore {
		stop = room.StopRate
	}
	b.cause.note(stop, at)
	b.last, b.err = stop, ""
	if r.Total > b.now.total {
		b.moved = at
	}
	area := b.now.area + float64(b.slots)*at.Sub(b.now.at).Seconds()
	if r.Total < b.now.total { // the line lost writes: nothing before is comparable
		b.past, area = nil, 0
	}
	b.at, b.slots, b.waits = at, r.Slots, r.Waiting
	b.now = sample{at: at, total: r.Total, gone: r.Total - r.Slots, area: area}
	if n := len(b.past); n == 0 || at.Sub(b.past[n-1].at) >= sampleEvery {
		if n == samples {
			b.past = slices.Delete(b.past, 0, 1)
		}
		b.past = append(b.past, b.now)
	}
}

// waiting is how many visitors waited at the last round.
func (b *board) waiting() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits
}

// failed notes a round that did not come about.
func (b *board) failed(stop room.Stop, err error, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause.note(stop, at)
	b.last, b.err = stop, err.Error()
	b.err = b.err[:min(len(b.err), room.MaxSignError)]
}

// sign is what the board says at a moment.
func (b *board) sign(name room.Name, at time.Time) room.RoomSign {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := room.RoomSign{Room: name, Epoch: b.epoch, Cause: b.cause.kept, RoundMS: -1, Error: b.err,
		Admitted: b.now.total, InsideMS: b.inside().Milliseconds()}
	since := b.cause.keptSince
	if s.Cause == "" { // nothing has lasted a second yet
		s.Cause, since = b.cause.now, b.cause.since
	}
	// A full shop that lets one in for each that leaves stops for the cap in every
	// round: how long it has let nobody in is what its cause has lasted.
	if s.Cause == room.StopCap && b.moved.After(since) {
		since = b.moved
	}
	if s.Cause != "" {
		s.CauseMS = at.Sub(since).Milliseconds()
	}
	if b.last != s.Cause {
		s.Last = b.last
	}
	if !b.at.IsZero() {
		s.RoundMS = at.Sub(b.at).Milliseconds()
	}
	for i, p := range slices.Backward(b.past) {
		ago := at.Sub(p.at)
		// The count only grows, so of three that are equal the middle one says nothing.
		if n := len(s.Past); ago <= pastKept && n > 0 && i > 0 && s.Past[n-1][1] == p.total && b.past[i-1].total == p.total {
			continue
		}
		s.Past = append(s.Past, [2]int64{ago.Milliseconds(), p.total})
		if ago > pastKept {
			break
		}
	}
	return s
}

// inside is the mean time that a slot is taken, by Little's law over what the
// board remembers: slots taken on average ÷ slots given back per second. While a
// shop fills it says too much, never too little.
func (b *board) inside() time.Duration {
	if len(b.past) == 0 {
		return 0
	}
	first := b.past[0]
	gone := b.now.gone - first.gone
	if gone < leastGone || b.now.at.Sub(first.at) < leastWindow {
		return 0
	}
	return time.Duration((b.now.area - first.area) / float64(gone) * float64(time.Second))
}

// Signs is what this process's sign of life says of the rooms it serves, by name.
func (s *Service) Signs() []room.RoomSign {
	at := time.Now()
	served := s.served()
	signs := make([]room.RoomSign, 0, len(served))
	for _, w := range served {
		signs = append(signs, w.board.sign(w.name, at))
	}
	slices.SortFunc(signs, func(a, b room.RoomSign) int { return cmp.Compare(a.Room, b.Room) })
	return signs
}
