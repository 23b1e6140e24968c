package seatmap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

const (
	// beat is the longest silence of a stream: a proxy that ends idle connections
	// waits longer, and a page that heard nothing for twice as long comes anew.
	beat = 5 * time.Second
	// writeLimit is how long a visitor may not read. Meanwhile nothing is queued for
	// it: what changed is told in one event when it reads again.
	writeLimit = 10 * time.Second
	// perPass is how many streams one pass has: a tab, and another or a dead one that
	// nobody has noticed yet. A further one ends the oldest, and waits until it is gone:
	// one whose visitor does not read is a stream for as long as its write hangs.
	perPass = 2
	// byeLimit is what such an oldest one has for the write that it is at and its bye:
	// who reads needs a round trip. Who waits for it is told to come back after wayLimit.
	byeLimit = time.Second
	wayLimit = 2 * byeLimit
	// comeBack spreads those whom a drain sends away: the time in which they come to
	// another booker.
	comeBack = 4 * time.Second
)

// Why a stream ends; the first two are never told.
const (
	causeGone     = "gone"
	causeSlow     = "slow"
	causePass     = "pass"
	causeTabs     = "tabs"
	causeDraining = "draining"
	causeRefused  = "refused"
)

// stream is one visitor's live map. Set once.
type stream struct {
	pass  string
	out   *pen
	newer context.Context // ends when a newer one of the pass takes its place, and with the request
	end   context.CancelFunc
	gone  chan struct{} // closed when it has ended
}

// Live answers GET …/live: a stream of server-sent events that tells what changes on
// the map since the version that the visitor has seen (Last-Event-ID, or ?since=),
// until the pass has ended, left from now. It returns when the stream has ended. An
// error means that nothing was written.
func (m *Maps) Live(w http.ResponseWriter, r *http.Request, name room.Name, pass string, left time.Duration) error {
	out := &pen{w: w, to: http.NewResponseController(w)}
	h, s, err := m.join(r.Context(), name, pass, out)
	if err != nil {
		return err
	}
	defer m.part(h, s)
	ctx, cancel := context.WithTimeout(s.newer, awaitFor+loadLimit)
	defer cancel()
	seen := parseVersion(r.Header.Get("Last-Event-ID"))
	if seen.life == "" {
		seen = parseVersion(r.URL.Query().Get("since"))
	}
	m.await(ctx, seen)
	if _, _, err := m.look(ctx, name); err != nil && s.newer.Err() == nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")   // nginx would keep events back
	_ = out.to.SetReadDeadline(time.Time{}) // the request was read; a deadline would end the stream
	m.met.ended.WithLabelValues(m.tell(r.Context(), h, s, seen, left)).Inc()
	return nil
}

// tell writes the stream and returns why it ended.
func (m *Maps) tell(ctx context.Context, h *hall, s *stream, seen version, left time.Duration) (cause string) {
	hello, _ := json.Marshal(struct {
		BeatMS int64 `json:"beat_ms"`
	}{beat.Milliseconds()})
	text := event("hello", version{}, hello)
	beats := time.NewTimer(beat)
	defer beats.Stop()
	end := time.NewTimer(left)
	defer end.Stop()
	for {
		news, v := h.since(seen)
		seen = v.version
		if text = append(text, news...); len(text) > 0 {
			if err := s.out.write(text); errors.Is(err, os.ErrDeadlineExceeded) {
				return causeSlow
			} else if err != nil {
				return causeGone
			}
			text = nil
			beats.Reset(beat)
		}
		var retry time.Duration
		select {
		case <-v.over:
			continue
		case <-beats.C:
			text = []byte(": beat\n\n")
			continue
		case <-end.C:
			cause = causePass
		case <-s.newer.Done():
			if ctx.Err() != nil {
				return causeGone
			}
			cause = causeTabs
		case <-m.drained:
			cause, retry = causeDraining, time.Millisecond+rand.N(comeBack-time.Millisecond) // 0 would be left out
		}
		bye, _ := json.Marshal(struct {
			Reason  string `json:"reason"`
			RetryMS int64  `json:"retry_ms,omitempty"`
		}{cause, retry.Milliseconds()})
		_ = s.out.write(event("bye", version{}, bye)) // a failed write means that it has gone
		return cause
	}
}

// pen writes to one visitor.
type pen struct {
	w  http.ResponseWriter
	to *http.ResponseController

	mu   sync.Mutex
	by   time.Time // the deadline of the write that goes on, or of the last. Guarded by mu
	last time.Time // no write lasts beyond it; zero: none was set. Guarded by mu
}

// write sends b, within writeLimit.
func (p *pen) write(b []byte) error {
	p.mu.Lock()
	p.by = time.Now().Add(writeLimit)
	if !p.last.IsZero() && p.last.Before(p.by) {
		p.by = p.last
	}
	_ = p.to.SetWriteDeadline(p.by) // a writer without one is a test's
	p.mu.Unlock()
	if _, err := p.w.Write(b); err != nil {
		return err
	}
	return p.to.Flush()
}

// hurry leaves byeLimit to all writes, the one that hangs too, and gives none more time
// than it had. Only while the request lasts: behind it the connection may be another's.
func (p *pen) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() {
		return
	}
	p.last = time.Now().Add(byeLimit)
	if p.by.IsZero() || p.last.Before(p.by) {
		p.by = p.last
		_ = p.to.SetWriteDeadline(p.by)
	}
}

// join opens a stream of a pass on a room that is in memory from now on. request ends
// with the visitor's request.
func (m *Maps) join(request context.Context, name room.Name, pass string, out *pen) (*hall, *stream, error) {
	ctx, cancel := context.WithTimeout(request, loadLimit+wayLimit)
	defer cancel()
	for {
		h, _, err := m.look(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		m.mu.Lock()
		if gone := m.crowded(pass); gone != nil {
			m.open++ // the place of the one that goes is this one's
			m.mu.Unlock()
			err = await(ctx, gone)
			m.mu.Lock()
			m.open--
			delete(m.entering, pass)
			if err != nil {
				m.mu.Unlock()
				m.met.ended.WithLabelValues(causeRefused).Inc()
				return nil, nil, err
			}
			// Nobody else of the pass has entered since.
		}
		if m.halls[name] != h { // forgotten since
			m.mu.Unlock()
			continue
		}
		if m.entering[pass] || m.draining || m.open >= m.config.MaxStreams {
			m.mu.Unlock()
			m.met.ended.WithLabelValues(causeRefused).Inc()
			return nil, nil, fmt.Errorf("%w: no further live map", seat.ErrBusy)
		}
		s := &stream{pass: pass, out: out, gone: make(chan struct{})}
		s.newer, s.end = context.WithCancel(request)
		m.streams[pass] = append(m.streams[pass], s)
		m.open++
		h.streams++
		m.met.streams.Inc()
		m.mu.Unlock()
		return h, s, nil
	}
}

// crowded ends the oldest stream of a pass that has all it may have, and returns what is
// closed when it is gone. Until the caller takes the pass from entering, nobody else of
// the pass enters. nil: there is nothing to wait for, or nobody may enter. mu is held.
func (m *Maps) crowded(pass string) (gone <-chan struct{}) {
	mine := m.streams[pass]
	if len(mine) < perPass || m.entering[pass] || m.draining {
		return nil
	}
	m.entering[pass] = true
	mine[0].end()
	mine[0].out.hurry()
	return mine[0].gone
}

// await waits for a stream to end, which takes byeLimit; one on a connection that knows
// no deadline may take longer.
func await(ctx context.Context, gone <-chan struct{}) error {
	late := time.NewTimer(wayLimit)
	defer late.Stop()
	select {
	case <-gone:
		return nil
	case <-late.C:
		return fmt.Errorf("%w: older live maps of the pass are not gone yet", seat.ErrBusy)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// part ends what join began.
func (m *Maps) part(h *hall, s *stream) {
	s.end()
	m.mu.Lock()
	defer m.mu.Unlock()
	close(s.gone)
	h.streams--
	h.looked = time.Now()
	m.open--
	m.met.streams.Dec()
	mine := slices.DeleteFunc(m.streams[s.pass], func(one *stream) bool { return one == s })
	if len(mine) == 0 {
		delete(m.streams, s.pass)
	} else {
		m.streams[s.pass] = mine
	}
}

// Drain ends every stream and opens no other. Visitors are told to come back, to
// another booker, within some seconds.
func (m *Maps) Drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.draining {
		m.draining = true
		close(m.drained)
	}
}
