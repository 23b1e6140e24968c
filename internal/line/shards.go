package line

import (
	"context"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Shards groups rooms by the master that holds them, as the client knows it: a map
// at most a second old. One pipeline for each group, each with its own deadline, lets
// a master that is away hold up its own rooms only; a pipeline over all of them waits
// for the slowest. Groups are in the order of their first room and hold theirs in the
// order given; a single server has one group, no names none.
//
// Where the map is older than a failover, the client is redirected: the answers are
// right, only slower. Without any map, the names are one group, and the call that
// follows says why. It costs no call once there is a map, and a fraction of a
// microsecond for each room.
func (l *Lines) Shards(ctx context.Context, names []room.Name) [][]room.Name {
	if len(names) == 0 {
		return nil
	}
	nodes, ok := l.rdb.(*redis.ClusterClient)
	if !ok {
		return [][]room.Name{names}
	}
	var groups [][]room.Name
	at := map[*redis.Client]int{} // by its client, of which each master has one
	for _, name := range names {
		master, err := nodes.MasterForKey(ctx, confKey(name))
		if err != nil {
			return [][]room.Name{names}
		}
		i, known := at[master]
		if !known {
			i = len(groups)
			at[master], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], name)
	}
	return groups
}
