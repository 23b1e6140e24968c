package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// story keeps the last lines of what bots say, for a test that fails: in a
// passing run nobody reads them. 2,000 lines; older ones are dropped.
type story struct {
	t     *testing.T
	began time.Time

	mu     sync.Mutex
	lines  []string
	closed bool
}

func newStory(t *testing.T) *story { return &story{t: t, began: time.Now()} }

// line is a bot.Config's Log.
func (s *story) line(format string, args ...any) {
	text := fmt.Sprintf("%7.3f ", time.Since(s.began).Seconds()) + fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if len(s.lines) >= 2000 {
		s.lines = append(s.lines[:0], s.lines[1000:]...)
	}
	s.lines = append(s.lines, text)
}

func (s *story) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// tell prints the end of the story.
func (s *story) tell() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	from := max(0, len(s.lines)-100)
	s.t.Logf("the end of the bots' story:\n%s", strings.Join(s.lines[from:], "\n"))
}
