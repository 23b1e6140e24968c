package admission

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// mostAbsent is how many visitors of a room leave it in one look: some 10 ms of Redis.
// The others leave with the looks to come.
const mostAbsent = 2_000

// absence is what the reaper needs to take visitors out of a line whom nobody sees.
type absence interface {
	// Away answers room.ErrUnsure while some part of the room's grace was told by nobody.
	Away(ctx context.Context, name room.Name, limit int) ([]room.Number, error)
	// Reap looks again at each of them.
	Reap(ctx context.Context, name room.Name, caller room.Caller, numbers []room.Number) (reaped int, err error)
}

// absent takes visitors out of the lines whom nobody saw for the room's grace, each room
// once in a span of it. It rests for one grace after a node fell silent: what that node
// could not write any more, nobody can see.
func (r *reaper) absent(ctx context.Context, now time.Time, signs []room.Sign) error {
	var silent time.Time // when the last node that is silent was heard
	alive := false
	for _, s := range signs {
		switch {
		case s.Role != room.RoleNode:
		case s.Stopped:
		case now.Sub(s.At) <= room.SignAlive:
			alive = true
		case s.At.After(silent):
			silent = s.At
		}
	}
	if !alive {
		return nil // nobody looks
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began, served := time.Now(), map[room.Name]bool{}
	var due []room.Name
	for _, w := range r.served() {
		served[w.name] = true
		if !began.Before(r.looks[w.name]) && w.board.waiting() > 0 { // a quiet room costs nothing here
			due = append(due, w.name)
		}
	}
	err := r.each(ctx, due, func(ctx context.Context, name room.Name) error {
		next, err := r.dismiss(ctx, name, now, silent)
		if err != nil && !errors.Is(err, room.ErrUnknown) && !errors.Is(err, room.ErrRecovering) && !errors.Is(err, room.ErrEpoch) {
			return err // the next look tries again
		}
		r.looks[name] = began.Add(next)
		return nil
	})
	for name := range r.looks {
		if !served[name] {
			delete(r.looks, name)
		}
	}
	return err
}

// dismiss is one look at a room. It returns when the next is due.
func (r *reaper) dismiss(ctx context.Context, name room.Name, now, silent time.Time) (next time.Duration, err error) {
	status, err := r.line.Status(ctx, name)
	if err != nil {
		return room.DefaultGrace / 8, err
	}
	grace := status.Conf.Grace
	next = grace / 8
	if status.Waiting == 0 || now.Sub(silent) < grace {
		return next, nil
	}
	numbers, err := r.line.Away(ctx, name, mostAbsent)
	if errors.Is(err, room.ErrUnsure) || err == nil && len(numbers) == 0 {
		return next, nil
	}
	if err != nil {
		return next, err
	}
	caller := room.Caller{Epoch: status.Conf.Epoch, Mark: status.Seq, Process: r.process}
	reaped, err := r.line.Reap(ctx, name, caller, numbers)
	r.metrics.reaped.WithLabelValues(string(name)).Add(float64(reaped))
	if reaped > 0 {
		r.log.Info("visitors whom nobody saw for the room's grace have left the line", zap.String("room", string(name)),
			zap.Int("visitors", reaped), zap.Duration("grace", grace))
	}
	if errors.Is(err, room.ErrUnsure) {
		err = nil
	}
	if len(numbers) == mostAbsent {
		next = 0 // there may be more
	}
	return next, err
}
