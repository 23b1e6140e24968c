package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Bounds of what is stuck.
const (
	// lanesMost is how many partitions may be stuck, 150 bytes of SQL each. With more the
	// table is not read on until some take their facts.
	lanesMost = 200
	// triesMost is how many are tried at a time, each for 2 s at most.
	triesMost = 4
	// Between two tries of one, doubling. 5 s at most: that is how long facts wait on
	// after their partition has its leader again.
	stuckFirst = 100 * time.Millisecond
	stuckMost  = 5 * time.Second
)

// stuckLane is a lane that takes nothing at the moment. Owned by Run's goroutine.
type stuckLane struct {
	busy  bool // a try is under way
	past  bool // some of its rows could not be put there: the looks pass over them for a second
	mixed bool // its topic has another number of partitions now: Run carries what waits here to where it goes
	due   time.Time
	pause time.Duration
	sql   error // what the database said to the last try
}

// stuck are the lanes whose facts wait there. Owned by Run's goroutine.
type stuck map[lane]*stuckLane

// where is the lane in which a fact that was read from another has to wait; noLane: it can
// be published. A mixed lane may have earlier facts of the same key, so it comes first,
// the one with the fewest partitions before those of later: topics grow. Of the others,
// the one with the most is the one of now.
func (s stuck) where(from lane, f fact) lane {
	var mixed, other lane
	for l, state := range s {
		switch {
		case l == from || !l.takes(f):
		case state.mixed && l.count > from.count && (mixed.count == 0 || l.count < mixed.count):
			mixed = l
		case !state.mixed && l.count > other.count:
			other = l
		}
	}
	if mixed != noLane {
		return mixed
	}
	return other
}

// except is the condition that leaves out the facts of those lanes that which names.
func (s stuck) except(which func(lane, *stuckLane) bool) string {
	type group struct {
		topic string
		count int
	}
	groups := map[group][]string{}
	for l, state := range s {
		if l.count > 0 && which(l, state) {
			g := group{l.topic, l.count}
			groups[g] = append(groups[g], fmt.Sprint(l.id))
		}
	}
	var b strings.Builder
	for g, ids := range groups {
		fmt.Fprintf(&b, " AND NOT (topic = '%s' AND spread %% %d IN (%s))", g.topic, g.count, strings.Join(ids, ","))
	}
	return b.String()
}

// names are those of the lanes, in order.
func (s stuck) names() []string {
	var list []string
	for l := range s {
		list = append(list, l.name())
	}
	slices.Sort(list)
	return list
}

// mixed are the lanes that Run carries itself, those of fewer partitions first.
func (s stuck) mixed() []lane {
	list := slices.DeleteFunc(slices.Collect(maps.Keys(s)), func(l lane) bool { return !s[l].mixed })
	slices.SortFunc(list, func(a, b lane) int { return a.count - b.count })
	return list
}

// due are the lanes that may be tried now, those that wait the longest first.
func (s stuck) due(now time.Time) []lane {
	list := slices.DeleteFunc(slices.Collect(maps.Keys(s)), func(l lane) bool { return s[l].busy || s[l].mixed || s[l].due.After(now) })
	slices.SortFunc(list, func(a, b lane) int { return s[a].due.Compare(s[b].due) })
	return list
}

// next is when a lane is to be tried, of those that are not being tried.
func (s stuck) next() (at time.Time, any bool) {
	for _, l := range s {
		if !l.busy && !l.mixed && (!any || l.due.Before(at)) {
			at, any = l.due, true
		}
	}
	return at, any
}

// trouble is what the database said to the last try of some lane.
func (s stuck) trouble() error {
	for _, l := range s {
		if l.sql != nil {
			return l.sql
		}
	}
	return nil
}

// tried is what came of a try.
type tried struct {
	lane  lane
	state *stuckLane // that was tried: another one is of a later time as the one that carries
	read  int
	acked int
	moved bool // the topic has another number of partitions
	err   error
}

// try publishes what a lane has, once. others is the condition that leaves out the facts of
// all other lanes.
func (o *Outbox) try(ctx context.Context, l lane, others string) tried {
	limit, cancel := context.WithTimeout(ctx, countLimit)
	count, err := o.to.Partitions(limit, l.topic)
	cancel()
	if err == nil && count != l.count {
		return tried{moved: true}
	}
	list, err := o.facts.read(ctx, batchRows, rows{lane: l.name()})
	if err == nil && len(list) < batchRows {
		// Those too that could not be put here, by one statement: a fact that was put here
		// between two would be missed, and not the next of its key.
		list, err = o.facts.read(ctx, batchRows, rows{lane: l.name()}, rows{where: l.only() + others})
	}
	if err != nil || len(list) == 0 {
		return tried{err: err}
	}
	left, err := o.carry(ctx, o.facts, list)
	return tried{read: len(list), acked: len(list) - len(left), err: err}
}

// settle says what becomes of a lane that was tried. It is well when it has taken all
// that there was.
func (s stuck) settle(t tried, now time.Time) {
	l := s[t.lane]
	if l != t.state {
		return // this process carried no more since
	}
	l.busy, l.due, l.sql = false, now, t.err
	var part *carryError
	if errors.As(t.err, &part) {
		l.sql = part.deleting
	}
	switch {
	case t.moved:
		l.mixed = true
	case t.err == nil && t.read < batchRows:
		delete(s, t.lane)
	case t.err == nil || t.acked > 0:
		l.pause = stuckFirst // it goes on
	default:
		l.due = now.Add(l.pause/2 + rand.N(l.pause)) // or all would be tried at once
		l.pause = min(2*l.pause, stuckMost)
	}
}

// add notes that a lane takes nothing, and is to be tried then.
func (s stuck) add(l lane, due time.Time) {
	if s[l] == nil {
		s[l] = &stuckLane{due: due, pause: 2 * stuckFirst, mixed: l.count == 0}
	}
}
