package outbox

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"waitroom/internal/events"
)

// Bounds of what is stuck.
const (
	// lanesMost is how many partitions may be stuck, 1 KB of SQL each ten of them. With
	// more the table is not read on until some take their facts.
	lanesMost = 200
	// triesMost is how many are tried at a time, each for 2 s at most.
	triesMost = 4
	// countLimit bounds the question how many partitions topics have: it is answered out
	// of memory, unless nobody knows.
	countLimit = 200 * time.Millisecond
	// Between two tries of one, doubling. 5 s at most: that is how long facts wait on
	// after their partition has its leader again.
	stuckFirst = 100 * time.Millisecond
	stuckMost  = 5 * time.Second
)

// lane is a partition of a topic, or a topic whose partitions are not known: count 1.
type lane struct {
	topic     string
	count, id int
}

func (l lane) String() string {
	if l.count == 1 {
		return l.topic
	}
	return fmt.Sprintf("%s/%d", l.topic, l.id)
}

// lanesOf are where facts go, each once.
func lanesOf(ctx context.Context, to Publisher, list []fact) []lane {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	counts := map[string]int{}
	lanes := map[lane]bool{}
	for _, f := range list {
		topic := f.record.Topic
		if counts[topic] == 0 {
			if counts[topic] = 1; ctx.Err() == nil {
				if n, err := to.Partitions(ctx, topic); err == nil {
					counts[topic] = n
				}
			}
		}
		lanes[lane{topic, counts[topic], int(events.Spread(f.record.Key) % uint32(counts[topic]))}] = true
	}
	return slices.Collect(maps.Keys(lanes))
}

// stuckLane is a lane that takes nothing at the moment. Owned by Run's goroutine.
type stuckLane struct {
	busy  bool // a try is under way
	due   time.Time
	pause time.Duration
}

// stuck are the lanes whose facts the looks leave out. Owned by Run's goroutine.
type stuck map[lane]*stuckLane

// except is the condition that leaves out the facts of all lanes. Topics have no other
// characters than topicPattern's.
func (s stuck) except() string {
	type group struct {
		topic string
		count int
	}
	groups := map[group][]string{}
	for l := range s {
		g := group{l.topic, l.count}
		groups[g] = append(groups[g], fmt.Sprint(l.id))
	}
	var b strings.Builder
	for g, ids := range groups {
		fmt.Fprintf(&b, " AND NOT (topic = '%s' AND spread %% %d IN (%s))", g.topic, g.count, strings.Join(ids, ","))
	}
	return b.String()
}

// only is the condition of one lane's facts.
func (l lane) only() string {
	return fmt.Sprintf(" AND topic = '%s' AND spread %% %d = %d", l.topic, l.count, l.id)
}

// due are the lanes that may be tried now, those that wait the longest first.
func (s stuck) due(now time.Time) []lane {
	list := slices.DeleteFunc(slices.Collect(maps.Keys(s)), func(l lane) bool { return s[l].busy || s[l].due.After(now) })
	slices.SortFunc(list, func(a, b lane) int { return s[a].due.Compare(s[b].due) })
	return list
}

// next is when a lane is to be tried, of those that are not being tried.
func (s stuck) next() (at time.Time, any bool) {
	for _, l := range s {
		if !l.busy && (!any || l.due.Before(at)) {
			at, any = l.due, true
		}
	}
	return at, any
}

func (s stuck) busy() (n int) {
	for _, l := range s {
		if l.busy {
			n++
		}
	}
	return n
}

// tried is what came of a try.
type tried struct {
	lane  lane
	read  int
	acked int
	moved bool // the topic has another number of partitions: what was stuck is not known
	err   error
}

// try publishes what a lane has, once.
func (o *Outbox) try(ctx context.Context, l lane) tried {
	limit, cancel := context.WithTimeout(ctx, countLimit)
	count, err := o.to.Partitions(limit, l.topic)
	cancel()
	if err == nil && count != l.count {
		return tried{lane: l, moved: true}
	}
	list, err := o.facts.read(ctx, l.only(), batchRows)
	if err != nil || len(list) == 0 {
		return tried{lane: l, err: err}
	}
	left, err := o.carry(ctx, o.facts, list)
	return tried{lane: l, read: len(list), acked: len(list) - len(left), err: err}
}

// settle says what becomes of a lane that was tried. It is well when it has taken all
// that there was.
func (s stuck) settle(t tried, now time.Time) {
	l := s[t.lane]
	switch {
	case l == nil: // this process carries no more
	case t.moved, t.err == nil && t.read < batchRows:
		delete(s, t.lane)
	default:
		l.busy, l.due = false, now
		if t.err == nil || t.acked > 0 {
			l.pause = stuckFirst // it goes on
			return
		}
		l.due = now.Add(l.pause/2 + rand.N(l.pause)) // or all would be tried at once
		l.pause = min(2*l.pause, stuckMost)
	}
}

// add notes that a lane has not taken a fact.
func (s stuck) add(l lane, now time.Time) {
	if s[l] == nil {
		s[l] = &stuckLane{due: now.Add(stuckFirst), pause: 2 * stuckFirst}
	}
}
