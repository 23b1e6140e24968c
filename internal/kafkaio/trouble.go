package kafkaio

import (
	"time"

	"go.uber.org/zap"
)

// quiet is how far apart two errors belong to different troubles: more than the
// longest pause between two attempts.
const quiet = 15 * time.Second

// trouble logs that something does not work when it has lasted for hold, when
// its reason changes, and when it is over: never once per attempt. Owned by one
// goroutine.
type trouble struct {
	log  *zap.Logger
	what string
	hold time.Duration

	last        string // logged; "" while all is well
	first, late time.Time
}

func newTrouble(log *zap.Logger, what string, hold time.Duration) *trouble {
	return &trouble{log: log, what: what, hold: hold}
}

func (t *trouble) is(err error) {
	now := time.Now()
	if now.Sub(t.late) > quiet {
		t.first, t.last = now, ""
	}
	t.late = now
	if err.Error() == t.last || now.Sub(t.first) < t.hold {
		return
	}
	t.last = err.Error()
	t.log.Warn("kafka does not work, trying again without bound", zap.String("what", t.what), zap.Error(err))
}

func (t *trouble) over() {
	if t.last != "" {
		t.log.Info("kafka works again", zap.String("what", t.what))
	}
	t.last, t.late = "", time.Time{}
}
