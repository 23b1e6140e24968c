package hub

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/wire"
)

const (
	// failsFor: once no call was answered for this part of a grace, a node sends the
	// room's visitors away. The other half is for them to be seen elsewhere.
	failsFor = 2
	// awayWithin is the part of the grace over which they are sent away: the last one
	// has three sixteenths of it left to come to another node.
	awayWithin = 4
	// awayRetry is the most that who is sent away waits before the next dial.
	awayRetry = 5 * time.Second
)

// sendAway sends everybody who waits here, or has a turn to claim, to another node, one
// after another over a time, those in front first: nobody can see them here, so they would
// lose their place. It ends early when the line answers again. Who comes back, since
// there is no better node, stays: this is done once an outage.
func (r *roomHub) sendAway(ctx context.Context, over time.Duration) {
	leaving := r.roster.leaving()
	if len(leaving) == 0 {
		return
	}
	r.hub.log.Error("this node can't say to the line whom it sees, so its visitors are sent to other nodes; look at Redis, and at the network between",
		zap.String("room", string(r.name)), zap.Int("visitors", len(leaving)), zap.Duration("over", over))
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for i, s := range leaving {
		if wait := time.Until(start.Add(over * time.Duration(i) / time.Duration(len(leaving)))); wait > time.Millisecond {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		if !r.sentAway.Load() {
			return // the line has heard of them
		}
		s.sendAway()
	}
}

// leaving are those whom it helps to be on another node, in order of number.
func (r *roster) leaving() (all []*Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.compact()
	for _, s := range r.others {
		if s.standing() == admitted {
			all = append(all, s)
		}
	}
	for _, i := range r.waiting {
		all = append(all, i.session)
	}
	return all
}

// sendAway asks every connection of the session to come back elsewhere.
func (s *Session) sendAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.standing(); st != waiting && st != admitted {
		return
	}
	s.send(wire.Encode(wire.DrainMessage{Type: wire.Drain, RetryMS: rand.Int64N(awayRetry.Milliseconds())}))
	for _, sink := range s.sinks {
		sink.Close(wire.Draining)
	}
}
