package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/api/apitest"
	"waitroom/internal/directory"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// fakeSigner signs nothing; what it says can be read.
type fakeSigner struct{}

func (fakeSigner) Place(_ room.Name, e room.Epoch, p room.Place) (string, error) {
	return fmt.Sprintf("%s %s %d", e, p.Visitor, p.Number), nil
}

func (fakeSigner) Pass(a room.Admission, until time.Time) (string, error) {
	return fmt.Sprintf("%s until %d", a, until.UnixMilli()), nil
}

// message is any message of the server.
type message struct {
	Type     wire.Type
	Place    string
	Number   room.Number
	Position room.Position
	Waiting  int64
	ETA      *wire.ETA
	ClaimMS  int64 `json:"claim_ms"`
	Pass     string
	State    room.Shown
	Notice   string
	Code     wire.Code
	Reason   string
	BeatMS   int64 `json:"beat_ms"`

	At     time.Time `json:"-"`
	Closed int       `json:"-"` // a close code
}

// frames is api/asyncapi.yaml, to which all that is told is held. Set once.
var frames = func() *apitest.Line {
	l, err := apitest.NewLine()
	if err != nil {
		panic(err) // its file is embedded
	}
	return l
}()

// fakeSink keeps what it hears.
type fakeSink struct {
	line *fakeLine
	busy bool // guarded by mu

	mu    sync.Mutex
	heard []message
	wrong []string // positions that are not the rank of the last read
}

func (s *fakeSink) keep(text []byte) message {
	var m message
	err := json.Unmarshal(text, &m)
	if m.Type != wire.Position && m.Type != wire.Joined { // crowds hear those; package api holds them
		err = errors.Join(err, frames.Frame(apitest.Node, text))
	}
	if err != nil {
		panic(err)
	}
	m.At = time.Now()
	s.heard = append(s.heard, m)
	return m
}

func (s *fakeSink) TrySend(text []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		return false
	}
	m := s.keep(text)
	if m.Type == wire.Position && s.line != nil {
		s.line.mu.Lock()
		want := s.line.ranks[s.number()]
		s.line.mu.Unlock()
		if m.Position != want {
			s.wrong = append(s.wrong, fmt.Sprintf("number %d: got position %d, want %d", s.number(), m.Position, want))
		}
	}
	return true
}

// number is the last one given. The caller holds mu.
func (s *fakeSink) number() (n room.Number) {
	for _, m := range s.heard {
		if m.Type == wire.Joined {
			n = m.Number
		}
	}
	return n
}

func (s *fakeSink) Send(texts ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		s.keep(text)
	}
}

func (s *fakeSink) Close(code wire.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, message{Closed: wire.Codes[code].Close, At: time.Now()})
}

// take returns what was heard since the last take.
func (s *fakeSink) take() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	s.heard = nil
	if n := slices.IndexFunc(h, func(m message) bool { return m.Type == wire.Joined }); n >= 0 {
		s.heard = h[n : n+1 : n+1] // number is asked again later
		h = slices.Delete(slices.Clone(h), n, n+1)
	}
	return h
}

// types are the types of messages, closes as "close <code>".
func types(heard []message) (ts []string) {
	for _, m := range heard {
		switch {
		case m.Closed != 0:
			ts = append(ts, fmt.Sprintf("close %d", m.Closed))
		case m.Type == wire.Error:
			ts = append(ts, "error "+string(m.Code))
		case m.Type == wire.Room:
			ts = append(ts, "room "+string(m.State))
		default:
			ts = append(ts, string(m.Type))
		}
	}
	return ts
}

// bench is a node over a fake line, in a bubble of fake time.
type bench struct {
	*testing.T
	line *fakeLine
	hub  *Hub
	logs *observer.ObservedLogs
	end  func() // ends the node and waits for it
}

// inBubble runs a story in fake time. At its end every goroutine must have ended.
func inBubble(t *testing.T, story func(*bench)) {
	t.Helper()
	inBubbleWith(t, Config{}, story)
}

func inBubbleWith(t *testing.T, conf Config, story func(*bench)) {
	t.Helper()
	inBubbleOver(t, conf, func(f *fakeLine) followed { return f }, story)
}

// followed is a line that a directory can follow.
type followed interface {
	Line
	Rooms(context.Context) ([]room.Name, error)
	Pulses(context.Context, []room.Name) ([]room.Pulse, []error)
	Shards(context.Context, []room.Name) [][]room.Name
	EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error)
	Event(context.Context, room.Name) (room.Event, error)
	Deleted(context.Context, room.Name) (bool, error)
}

// inBubbleOver runs a story over a line that is the fake but for what over changes.
func inBubbleOver(t *testing.T, conf Config, over func(*fakeLine) followed, story func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		b := &bench{T: t, line: newFakeLine(), logs: logs}
		line := over(b.line)
		rooms := directory.New(line, zap.NewNop())
		b.hub = New(conf, "node", line, rooms, fakeSigner{}, "https://shop/{room}", zap.New(core), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup // end with cancel below
		loops.Go(func() { _ = b.hub.Run(ctx) })
		synctest.Wait()
		loops.Go(func() { _ = rooms.Run(ctx) })
		<-rooms.Contact()
		b.end = func() { cancel(); loops.Wait() }
		story(b)
		if b.line.nameless > 0 {
			t.Errorf("got %d writing calls without the process that makes them", b.line.nameless)
		}
		b.end()
	})
}

// pass lets time pass, and whatever is due then happen.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// join brings n new visitors at once and returns them in order of number.
func (b *bench) join(n int) ([]*Session, []*fakeSink) {
	b.Helper()
	sessions, sinks := make([]*Session, n), make([]*fakeSink, n)
	var wg sync.WaitGroup
	for i := range n {
		sinks[i] = &fakeSink{line: b.line}
		wg.Go(func() {
			v, err := b.hub.Join(b.Context(), show, sinks[i])
			if err != nil {
				b.Errorf("join: %v", err)
			}
			sessions[i] = v
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return int(sessions[i].place.Number - sessions[j].place.Number) })
	vs, ss := make([]*Session, n), make([]*fakeSink, n)
	for to, from := range order {
		vs[to], ss[to] = sessions[from], sinks[from]
	}
	return vs, ss
}
