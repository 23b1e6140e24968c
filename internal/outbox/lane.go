package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"waitroom/internal/events"
)

// countLimit bounds the question how many partitions topics have: it is answered out of
// memory, unless nobody knows.
const countLimit = 200 * time.Millisecond

// lane is a partition of a topic, or a topic whose partitions are not known: count 1.
type lane struct {
	topic     string
	count, id int
}

// noLane is where facts wait for the next look.
var noLane lane

// name is what stands in the rows that wait for a lane.
func (l lane) name() string {
	if l.count == 0 {
		return l.topic
	}
	return fmt.Sprintf("%s/%d/%d", l.topic, l.count, l.id)
}

// laneOf is the lane of a name. One that nobody can read has no partitions, and its rows
// are carried like those of no lane.
func laneOf(name string) lane {
	if part := strings.Split(name, "/"); len(part) == 3 && topicPattern.MatchString(part[0]) {
		count, err := strconv.Atoi(part[1])
		id, wrong := strconv.Atoi(part[2])
		l := lane{part[0], count, id}
		if err == nil && wrong == nil && 0 <= id && id < count && l.name() == name {
			return l
		}
	}
	return lane{topic: name}
}

// takes says that a fact goes there.
func (l lane) takes(f fact) bool {
	return l.count > 0 && f.broken == nil && f.record.Topic == l.topic && int(events.Spread(f.record.Key)%uint32(l.count)) == l.id
}

// ahead says that other may have facts of keys of l that are to be published before those
// of l.
func (l lane) ahead(other lane) bool {
	return other.topic == l.topic && other.count > l.count && (other.id-l.id)%gcd(l.count, other.count) == 0
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// only is the condition of the facts that go there. Topics have no other characters than
// topicPattern's.
func (l lane) only() string {
	return fmt.Sprintf(" AND topic = '%s' AND spread %% %d = %d", l.topic, l.count, l.id)
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
