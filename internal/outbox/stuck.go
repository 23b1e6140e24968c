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
	mixed bool // its topic has more partitions now: Run carries what waits here to where it goes
	due   time.Time
	pause time.Duration
	sql   error // what the database said to the last try
}

// stuck are the lanes whose facts wait there. Owned by Run's goroutine.
type stuck map[lane]*stuckLane

// where is the lane in which a fact that was read from another has to wait; noLane: it can
// be published. Facts go from the looks to the lane of the fewest partitions that takes
// them, from there to the one of more, and so on: topics grow. So of the facts of one key
// those in a lane of more partitions are the earlier ones, whoever put them there and
// however many partitions it knew. Nothing that a process knows alone decides here.
func (s stuck) where(from lane, f fact) lane {
	var next lane
	for l := range s {
		if l.takes(f) && l.count > from.count && (next == noLane || l.count < next.count) {
			next = l
		}
	}
	return next
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

// attempt is what a try is told. Owned by the try.
type attempt struct {
	lane   lane
	known  []string // the names of the lanes that were known when it began
	ahead  string   // the condition that leaves out the facts of known lanes that go first
	others string   // the one that leaves out those of all other known lanes
}

func (s stuck) attempt(l lane) attempt {
	return attempt{
		lane:   l,
		known:  s.names(),
		ahead:  s.except(func(other lane, _ *stuckLane) bool { return l.ahead(other) }),
		others: s.except(func(other lane, _ *stuckLane) bool { return other != l }),
	}
}

// tried is what came of a try.
type tried struct {
	attempt
	state *stuckLane // that was tried: another one is of a later time as the one that carries
	read  int
	acked int
	moved bool   // the topic has more partitions
	found []lane // that nobody here knew: nothing was published
	err   error
}

// try publishes what a lane has, once, but what waits behind another lane.
func (o *Outbox) try(ctx context.Context, a attempt) tried {
	l := a.lane
	limit, cancel := context.WithTimeout(ctx, countLimit)
	count, err := o.to.Partitions(limit, l.topic)
	cancel()
	if err == nil && count > l.count {
		return tried{moved: true}
	}
	own := rows{l.name(), a.ahead}
	list, err := o.facts.read(ctx, batchRows, own)
	if err == nil && len(list) < batchRows {
		// Those too that could not be put here, by one statement: a fact that was put here
		// between two would be missed, and not the next of its key.
		list, err = o.facts.read(ctx, batchRows, own, rows{where: l.only() + a.others})
	}
	if err != nil || len(list) == 0 {
		return tried{err: err}
	}
	// After the read: see the package's comment.
	if found, err := o.facts.lanes(ctx, a.known); err != nil || len(found) > 0 {
		return tried{found: found, err: err}
	}
	left, err := o.carry(ctx, o.facts, list)
	return tried{read: len(list), acked: len(list) - len(left), err: err}
}

// settle says what becomes of a lane that was tried. It is well when it has taken all
// that there was. Behind another lane it may have more, and is tried again later.
func (s stuck) settle(t tried, now time.Time) {
	l := t.state
	l.busy, l.due, l.sql = false, now, t.err
	var part *carryError
	if errors.As(t.err, &part) {
		l.sql = part.deleting
	}
	for _, other := range t.found {
		s.add(other, now)
	}
	switch {
	case t.moved:
		l.mixed = true
	case t.err == nil && t.read < batchRows && len(t.found) == 0 && t.ahead == "":
		delete(s, t.lane)
	case t.err == nil && t.ahead == "" || t.acked > 0:
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
