package process

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Public are the flags of a process with a port for the public.
type Public struct {
	MaxSockets int `help:"Most TCP connections of the public port at once, WebSockets included; at the bound whoever waits longest without a request is closed for a new one. 0: what the limit of open files allows." default:"0" env:"WAITROOM_MAX_SOCKETS"`
}

// Check reports every wrong value. What the limit of open files says is Sockets'.
func (p Public) Check() error {
	if p.MaxSockets < 0 || p.MaxSockets > manyFiles {
		return fmt.Errorf("--max-sockets %d: want 0 to %d", p.MaxSockets, manyFiles)
	}
	return nil
}

// Sockets divides the open files and returns the bound of the public port. It
// fails where the process may open too few, with the flag and what to set. idle is
// how long a socket may wait for its next request.
func (p Public) Sockets(env *Env, need Need, idle time.Duration) (*Sockets, error) {
	limit := fileLimit()
	most, err := allot(limit, cores(), p.MaxSockets, need)
	if err != nil {
		return nil, err
	}
	env.Log.Info("open files", zap.Int("limit", limit), zap.Int("sockets", most), zap.Int("upgraded", need.Upgraded),
		zap.Int("kept", keptFiles+keptPerCore*cores()+need.Besides))
	return NewSockets(most, idle, env.Log, env.Metrics), nil
}
