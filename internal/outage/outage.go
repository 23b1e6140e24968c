// Package outage logs what does not work: when that begins, with its cause, again
// while it lasts, and once when it is over. A loop that tries every 100 ms then
// writes a few lines and not 36,000 an hour, and who opens the log an hour later
// still reads what is wrong, since when and why.
//
// It knows no domain: an error is a failed try, nil a try that went well.
package outage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// every is how often the same cause is logged while an outage lasts: who looks
	// at the last minutes of a log meets it, and twelve lines an hour drown nothing.
	every = 5 * time.Minute
	// maxKinds is how many causes of one outage are logged within every. A Redis
	// that fails over shows six or seven. Further ones are not named until then.
	maxKinds = 8
	// kindSize bounds what is kept of a cause to know it again, in bytes: a driver's
	// error has a hundred, a proxy's error page has thousands.
	kindSize = 300
)

// Config says what may stop working, and in which words.
type Config struct {
	Log   *zap.Logger
	Down  string // what does not work, and what that means; logged with the cause
	Up    string // what works again
	Grave bool   // Down is an error, not a warning: a person has to act

	// Hold is how long it must fail to be logged, and be well to be over, so that
	// what fails at every other try is one outage. 0: the first try decides.
	Hold time.Duration
	// Quiet is for callers who can't note that it is well: a failure that comes
	// later than this after the one before begins another outage. 0: never.
	Quiet time.Duration
}

// Log is one thing that may stop working. It is safe for concurrent use; callers
// who share one say by it that their failures are the same thing. It owns no
// goroutine and no timer: every line is written by a Note.
type Log struct {
	config Config

	failing atomic.Bool // what is well costs one load; written with mu held

	mu    sync.Mutex
	since time.Time // the first failure
	late  time.Time // the last one
	tries int       // that failed since
	told  bool      // whether anything was logged of this outage
	round time.Time // when kinds was emptied, at most every ago
	kinds []string  // logged in this round, at most maxKinds
}

// New makes a Log of something that is well.
func New(config Config) *Log { return &Log{config: config} }

// Note takes the outcome of one try. What was cancelled says nothing about the
// server: neither ctx's end nor a try that ended by it is an outage, or the end of
// one. A deadline that passed is a failure.
func (l *Log) Note(ctx context.Context, err error) {
	switch {
	case err == nil && !l.failing.Load():
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, context.Canceled):
	case err == nil:
		l.well()
	default:
		l.failed(err)
	}
}

// Over ends an outage at once, whatever Hold says: what failed is no longer tried here.
// It says nothing where ctx was cancelled, as Note.
func (l *Log) Over(ctx context.Context) {
	if !l.failing.Load() || errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over(time.Now())
}

func (l *Log) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.tries > 0 && l.config.Quiet > 0 && now.Sub(l.late) > l.config.Quiet {
		l.reset()
	}
	if l.tries == 0 {
		l.since = now
		l.failing.Store(true)
	}
	l.tries++
	l.late = now
	if now.Sub(l.since) < l.config.Hold {
		return
	}
	if now.Sub(l.round) >= every {
		l.round, l.kinds = now, l.kinds[:0]
	}
	kind := kindOf(err)
	if len(l.kinds) == maxKinds || slices.Contains(l.kinds, kind) {
		return
	}
	l.kinds = append(l.kinds, kind)
	l.told = true
	say := l.config.Log.Warn
	if l.config.Grave {
		say = l.config.Log.Error
	}
	say(l.config.Down, zap.Error(err), zap.Time("since", l.since), zap.Int("tries", l.tries))
}

func (l *Log) well() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.late) >= l.config.Hold {
		l.over(now)
	}
}

// over tells that it ended, where it was told that it began. The caller holds mu.
func (l *Log) over(now time.Time) {
	if l.tries == 0 {
		return
	}
	if l.told {
		ended := now
		if l.config.Quiet > 0 && now.Sub(l.late) > l.config.Quiet {
			ended = l.late // nobody tried meanwhile
		}
		l.config.Log.Info(l.config.Up, zap.Duration("lasted", ended.Sub(l.since)), zap.Int("tries", l.tries))
	}
	l.reset()
}

// reset makes it well. The caller holds mu.
func (l *Log) reset() {
	l.tries, l.told, l.round, l.kinds = 0, false, time.Time{}, l.kinds[:0]
	l.failing.Store(false)
}

// kindOf is the text of a cause without what changes from try to try: numbers,
// such as the ports of connections, and the order and count of errors that were
// joined.
func kindOf(err error) string {
	var b strings.Builder
	digits := false
	for _, r := range err.Error() {
		was := digits
		digits = '0' <= r && r <= '9'
		switch {
		case !digits:
			b.WriteRune(r)
		case !was:
			b.WriteByte('#')
		}
	}
	lines := strings.Split(b.String(), "\n")
	slices.Sort(lines)
	kind := strings.Join(slices.Compact(lines), "\n")
	return kind[:min(len(kind), kindSize)]
}
