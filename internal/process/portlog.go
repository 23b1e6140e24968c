package process

import (
	"time"

	"go.uber.org/zap"
)

// calm is how long the bound was not met when the log says that it is over.
const calm = 10 * time.Second

// portLog says what becomes of a public port, once per change and not once per
// socket. It looks whenever a connection comes, so the end of something is told
// with the next one.
type portLog struct {
	log     *zap.Logger
	last    time.Time // when the bound was met; zero: never, or its end is told
	cut     int       // sockets closed since its beginning was told
	failing time.Time // when accepting last failed; zero: never, or its end is told
}

// full: one more came at the bound, so one was closed.
func (l *portLog) full(now time.Time, bound, waiting, serving int) {
	first := l.last.IsZero()
	l.last = now
	l.cut++
	if first {
		l.log.Warn("the public port has as many sockets as it may: who waits longest without a request is closed for who comes. "+
			"Raise --max-sockets and the limit of open files, or bound connections per address in front",
			zap.Int("bound", bound), zap.Int("waiting", waiting), zap.Int("in_service", serving))
	}
}

// room: one came below the bound.
func (l *portLog) room(now time.Time) {
	if l.last.IsZero() || now.Sub(l.last) < calm {
		return
	}
	l.log.Info("the public port has room for sockets again", zap.Int("closed_meanwhile", l.cut))
	l.last, l.cut = time.Time{}, 0
}

// failed: an accept found no descriptor.
func (l *portLog) failed(now time.Time, err error) {
	if l.failing.IsZero() {
		l.log.Error("no connection can be accepted; trying again, and closing who waits longest without a request. "+
			"Raise the limit of open files", zap.Error(err))
	}
	l.failing = now
}

// accepted: it is over once no accept has failed for a while; at the limit every
// other one does.
func (l *portLog) accepted(now time.Time) {
	if l.failing.IsZero() || now.Sub(l.failing) < calm {
		return
	}
	l.log.Info("connections are accepted again")
	l.failing = time.Time{}
}
