package line

import (
	"context"
	"fmt"
	"time"

	"waitroom/internal/room"
)

// maxStands is how many places one script looks up: about 1 ms of Redis. More
// are asked for in several calls.
const maxStands = 1_000

var standings = map[string]room.Standing{
	"gone": room.Gone, "waiting": room.Waiting, "unclaimed": room.Unclaimed, "active": room.Active, "unseen": room.Unseen, "away": room.Away,
}

// Rejoin answers visitors who come back with their places, in their order. Who
// waits keeps its number; who has a number that the line lost comes back to it.
func (l *Lines) Rejoin(ctx context.Context, name room.Name, by room.Caller, places []room.Place) ([]room.Stand, error) {
	return l.stands(places, func(part []any) (reply, error) {
		return l.actOn(ctx, rejoinScript, name, presenceKeysOf(name), by, part...)
	})
}

// Stands answers where visitors stand, in their order, and changes nothing. Unseen is
// who may come back by Rejoin.
func (l *Lines) Stands(ctx context.Context, name room.Name, places []room.Place) ([]room.Stand, error) {
	return l.stands(places, func(part []any) (reply, error) {
		// Not EVALSHA_RO: miniredis takes TIME for a write.
		return l.run(ctx, standsScript, name, keysOf(name), append([]any{l.now()}, part...)...)
	})
}

func (l *Lines) stands(places []room.Place, ask func([]any) (reply, error)) ([]room.Stand, error) {
	stands := make([]room.Stand, 0, len(places))
	for len(places) > 0 {
		n := min(len(places), maxStands)
		args := make([]any, 0, 2*n+4)
		for _, p := range places[:n] {
			args = append(args, string(p.Visitor), int64(p.Number))
		}
		answer, err := ask(args)
		if err != nil {
			return nil, err
		}
		now, found := answer.int(0), answer.list(1)
		if found.len() != 2*n {
			return nil, fmt.Errorf("%w: %d values for %d places", errReply, found.len(), n)
		}
		for i := range n {
			stands = append(stands, readStand(found, 2*i, now))
		}
		if err := answer.bad(); err != nil {
			return nil, err
		}
		places = places[n:]
	}
	return stands, nil
}

// readStand reads a standing and its deadline in ms, seen at now in µs.
func readStand(r reply, i int, now int64) room.Stand {
	standing, known := standings[r.text(i)]
	if !known {
		*r.wrong = true
	}
	stand := room.Stand{Standing: standing}
	if ms := r.int(i + 1); ms > 0 {
		stand.Deadline = micros(ms * 1000)
		stand.Left = time.Duration(ms*1000-now) * time.Microsecond
	}
	return stand
}

// Claim lets an admitted visitor begin: Active with the pass's deadline, the same
// for every repeat. Who still waits gets Waiting and no error; who missed it, left
// or is done gets ErrSpent.
func (l *Lines) Claim(ctx context.Context, name room.Name, by room.Caller, place room.Place) (room.Stand, error) {
	answer, err := l.act(ctx, claimScript, name, by, string(place.Visitor), int64(place.Number), closedLife.Milliseconds())
	if err != nil {
		return room.Stand{}, err
	}
	stand := readStand(answer, 1, answer.int(0))
	if err := answer.bad(); err != nil {
		return room.Stand{}, err
	}
	switch stand.Standing {
	case room.Gone, room.Away:
		return stand, room.ErrSpent
	case room.Unseen:
		return stand, room.ErrRecovering // until it has come back by Rejoin
	}
	return stand, nil
}

// Leave takes a waiting or unclaimed visitor out for good. ErrActive when the
// visitor is in the shop; ErrSpent when it is gone, so also for a repeat.
func (l *Lines) Leave(ctx context.Context, name room.Name, by room.Caller, place room.Place) error {
	answer, err := l.act(ctx, leaveScript, name, by, string(place.Visitor), int64(place.Number))
	if err != nil {
		return err
	}
	standing, known := standings[answer.text(0)]
	switch {
	case !known:
		return errReply
	case standing == room.Active:
		return room.ErrActive
	case standing == room.Gone, standing == room.Away:
		return room.ErrSpent
	}
	return nil
}
