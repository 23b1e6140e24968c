package embedded

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// Redis starts a miniredis on a free port of the loopback. addr is
// "127.0.0.1:port"; the server itself is returned for tests that look inside or
// move its clock.
//
// Keys expire with time, as on a real server: by itself miniredis counts a
// time-to-live down only when FastForward is called. ClockTTL makes every
// command count the time since the command before it, so there is no ticker to
// own. It costs one walk over the keys per command, fine for the hundred keys
// of a demo's rooms. TIME is the wall clock, in Lua as well.
func Redis() (server *miniredis.Miniredis, addr string, stop func(), err error) {
	server = miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		return nil, "", nil, fmt.Errorf("start miniredis: %w", err)
	}
	server.ClockTTL(true)
	return server, server.Addr(), server.Close, nil
}
