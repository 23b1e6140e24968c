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
	// nobody has noticed yet. A further one ends the oldest.
	perPass = 2
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

// stream is one visitor's live map.
type stream struct {
	pass  string
	newer chan struct{} // closed when newer ones of the pass took its place
}

// Live answers GET …/live: a stream of server-sent events that tells what changes on
// the map since the version that the visitor has seen (Last-Event-ID, or ?since=),
// until the pass has ended, left from now. It returns when the stream has ended. An
// error means that nothing was written.
func (m *Maps) Live(w http.ResponseWriter, r *http.Request, name room.Name, pass string, left time.Duration) error {
	ctx, cancel := context.WithTimeout(r.Context(), awaitFor+loadLimit)
	defer cancel()
	h, s, err := m.join(ctx, name, pass)
	if err != nil {
		return err
	}
	defer m.part(h, s)
	seen := parseVersion(r.Header.Get("Last-Event-ID"))
	if seen.life == "" {
		seen = parseVersion(r.URL.Query().Get("since"))
	}
	m.await(ctx, seen)
	if _, _, err := m.look(ctx, name); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would keep events back
	out := &pen{w: w, to: http.NewResponseController(w)}
	_ = out.to.SetReadDeadline(time.Time{}) // the request was read; a deadline would end the stream
	m.met.ended.WithLabelValues(m.tell(r.Context(), out, h, s, seen, left)).Inc()
	return nil
}

// tell writes the stream and returns why it ended.
func (m *Maps) tell(ctx context.Context, out *pen, h *hall, s *stream, seen version, left time.Duration) (cause string) {
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
			if err := out.write(text); errors.Is(err, os.ErrDeadlineExceeded) {
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
		case <-ctx.Done():
			return causeGone
		case <-end.C:
			cause = causePass
		case <-s.newer:
			cause = causeTabs
		case <-m.drained:
			cause, retry = causeDraining, rand.N(comeBack)
		}
		bye, _ := json.Marshal(struct {
			Reason  string `json:"reason"`
			RetryMS int64  `json:"retry_ms,omitempty"`
		}{cause, retry.Milliseconds()})
		_ = out.write(event("bye", version{}, bye)) // a failed write means that it has gone
		return cause
	}
}

// pen writes to one visitor.
type pen struct {
	w  http.ResponseWriter
	to *http.ResponseController
}

func (p *pen) write(b []byte) error {
	_ = p.to.SetWriteDeadline(time.Now().Add(writeLimit)) // a writer without one is a test's
	if _, err := p.w.Write(b); err != nil {
		return err
	}
	return p.to.Flush()
}

// join opens a stream of a pass on a room that is in memory from now on.
func (m *Maps) join(ctx context.Context, name room.Name, pass string) (*hall, *stream, error) {
	for {
		h, _, err := m.look(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		m.mu.Lock()
		if m.halls[name] != h { // forgotten since
			m.mu.Unlock()
			continue
		}
		mine := m.streams[pass]
		// The one that makes place is counted until it has ended: a pass has one more
		// for a moment, the process never.
		if m.draining || m.open >= m.config.MaxStreams {
			m.mu.Unlock()
			m.met.ended.WithLabelValues(causeRefused).Inc()
			return nil, nil, fmt.Errorf("%w: no further live map", seat.ErrBusy)
		}
		if len(mine) >= perPass {
			close(mine[0].newer)
			mine = slices.Delete(mine, 0, 1)
		}
		s := &stream{pass: pass, newer: make(chan struct{})}
		m.streams[pass] = append(mine, s)
		m.open++
		h.streams++
		m.met.streams.Inc()
		m.mu.Unlock()
		return h, s, nil
	}
}

// part ends what join began.
func (m *Maps) part(h *hall, s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
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
