package process

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// maxDrainDelay is longer than any balancer takes, and less than an operator waits.
const maxDrainDelay = 10 * time.Minute

// Public are the flags of a process with a port for the public.
type Public struct {
	MaxSockets int           `help:"Most TCP connections of the public port at once, WebSockets included; at the bound whoever waits longest without a request is closed for a new one. 0: what the limit of open files allows." default:"0" env:"WAITROOM_MAX_SOCKETS"`
	DrainDelay time.Duration `help:"How long the public port serves on after SIGTERM, while /readyz already says 503: as long as a load balancer needs to notice." default:"5s" env:"WAITROOM_DRAIN_DELAY"`
	Memory     Memory        `embed:""`
}

// Check reports every wrong value. What the limit of open files says is Sockets'.
func (p Public) Check() error {
	var errs []error
	if p.MaxSockets < 0 || p.MaxSockets > manyFiles {
		errs = append(errs, fmt.Errorf("--max-sockets %d: want 0 to %d", p.MaxSockets, manyFiles))
	}
	if p.DrainDelay < 0 || p.DrainDelay > maxDrainDelay {
		errs = append(errs, fmt.Errorf("--drain-delay %s: want 0s to %s", p.DrainDelay, maxDrainDelay))
	}
	return errors.Join(errs...)
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
