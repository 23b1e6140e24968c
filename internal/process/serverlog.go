package process

import (
	"strings"

	"go.uber.org/zap"
)

// serverLog brings net/http's own lines into the log: a panic as an error, without
// the address of the visitor whose request it was; all others for debugging only.
// Among those are an accept that failed, at each try, which Sockets tells once.
type serverLog struct{ log *zap.Logger }

// Write takes one line, a panic with its stack behind it.
func (s serverLog) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	if rest, ok := strings.CutPrefix(text, "http: panic serving "); ok {
		_, rest, _ = strings.Cut(rest, ": ") // behind address and port
		value, stack, _ := strings.Cut(rest, "\n")
		s.log.Error("a handler panicked", zap.String("panic", value), zap.String("stack", stack))
	} else {
		s.log.Debug("http server", zap.String("said", text))
	}
	return len(b), nil
}
