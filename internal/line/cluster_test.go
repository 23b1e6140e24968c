package line

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// One cluster for everything that must not happen to the shared one; the last ones
// break it.
func TestCluster(t *testing.T) {
	t.Parallel() // most of it waits for elections; all servers are its own
	// Without it every slot is refused while one master is being replaced.
	c := testenv.StartRedisCluster(t, "--cluster-require-full-coverage", "no")
	t.Run("check", func(t *testing.T) { checkCluster(t, c) })
	t.Run("rights", func(t *testing.T) { grantCluster(t, c) })
	t.Run("shards", func(t *testing.T) { shardCluster(t, c) })
	t.Run("full memory", func(t *testing.T) {
		rdb := dial(t, c.URL())
		fullLooks(t, New(rdb), func(name room.Name) *testenv.RedisServer { return c.MasterOf(confKey(name)) })
	})
	t.Run("killed master", func(t *testing.T) { killMaster(t, c) })
	t.Run("slots without a master", func(t *testing.T) { loseSlots(t, c) })
}

// Each master is asked and named; with the advice taken, nothing is left to say.
func checkCluster(t *testing.T, c *testenv.RedisCluster) {
	rdb := dial(t, c.URL())
	got := warned(t, rdb)
	if len(got) != 3 {
		t.Fatalf("got %q, want one line for each of three masters", got)
	}
	for _, master := range c.Nodes[:3] {
		if !slices.ContainsFunc(got, func(line string) bool {
			return strings.HasPrefix(line, "redis "+master.Addr()+": ") && strings.Contains(line, "set min-replicas-to-write 1")
		}) {
			t.Errorf("got %q, want the advice for %s", got, master.Addr())
		}
	}
	for _, node := range c.Nodes {
		if err := node.Client().ConfigSet(background(), "min-replicas-to-write", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, master := range c.Nodes[:3] {
		awaitInfo(t, master.Client(), "min_slaves_good_slaves:1")
	}
	if got := warned(t, rdb); len(got) != 0 {
		t.Errorf("with min-replicas-to-write: got %q, want nothing", got)
	}
	// A master that lost its replica refuses every write with it; the rest of this
	// test kills some.
	for _, node := range c.Nodes {
		if err := node.Client().ConfigSet(background(), "min-replicas-to-write", "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	// A name for one server that is a node of many, and the other way round.
	if _, err := Check(background(), dial(t, c.Nodes[0].URL()), RoleAll); err == nil || !strings.Contains(err.Error(), "redis-cluster://") {
		t.Errorf("a node as a single server: got %v, want an error that names the right scheme", err)
	}
	one := testenv.StartRedis(t)
	if _, err := open("redis-cluster://" + one.Addr()); err == nil || !strings.Contains(err.Error(), "write redis:// instead") {
		t.Errorf("a single server as a cluster: got %v, want an error that names the right scheme", err)
	}
}

// The user that `admitter acl` prints, made on each node, is all that a cluster
// needs; a node that lacks it is named.
func grantCluster(t *testing.T, c *testenv.RedisCluster) {
	for _, node := range c.Nodes {
		grant(t, node, RoleAll)
	}
	rdb := dial(t, strings.Replace(c.URL(), "://", "://user-all:hush@", 1))
	warned(t, rdb)
	l, conf := New(rdb), openConf()
	for range 20 { // on all masters
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 2)
		admit(t, l, name, conf, 1)
		_, err1 := l.Status(background(), name)
		_, err2 := l.ReadOutbox(background(), name, 1)
		if err := errors.Join(err1, err2); err != nil {
			t.Error(err)
		}
	}
	for _, node := range c.Nodes {
		if got := refusedBy(t, node); len(got) > 0 {
			t.Errorf("%s refused %q, want nothing", node.Addr(), got)
		}
	}
	grant(t, c.Nodes[1], RoleAll, "-zadd")
	_, err := Check(background(), rdb, RoleAll)
	if err == nil || !strings.Contains(err.Error(), c.Nodes[1].Addr()+": the user may not run zadd") || strings.Contains(err.Error(), "\n") {
		t.Errorf("one master with fewer rights: got %v, want it named, alone", err)
	}
}

// The rooms of a group are one master's, each is in one group, order is kept.
func shardCluster(t *testing.T, c *testenv.RedisCluster) {
	l := New(dial(t, c.URL()))
	var names []room.Name
	for i := range 50 {
		names = append(names, room.Name(fmt.Sprintf("room-%d", i)))
	}
	groups := l.Shards(background(), names)
	if len(groups) != 3 {
		t.Fatalf("got %d groups, want one for each master", len(groups))
	}
	seen := map[room.Name]int{}
	last := -1
	for _, group := range groups {
		if first := slices.Index(names, group[0]); first < last {
			t.Errorf("group of %s stands behind a later one", group[0])
		} else {
			last = first
		}
		master := c.MasterOf(confKey(group[0]))
		for i, name := range group {
			seen[name]++
			if err := master.Client().Exists(background(), confKey(name)).Err(); err != nil {
				t.Errorf("%s is not with %s: %v", name, group[0], err)
			}
			if i > 0 && slices.Index(names, name) < slices.Index(names, group[i-1]) {
				t.Errorf("%s stands behind %s", name, group[i-1])
			}
		}
	}
	if len(seen) != len(names) {
		t.Errorf("got %d rooms in groups, want %d", len(seen), len(names))
	}
	if got := l.Shards(background(), nil); got != nil {
		t.Errorf("no rooms: got %v, want no group", got)
	}
}

// After the kill -9 of a master behind a Sentinel, rounds go on with the replica.
func TestSentinel(t *testing.T) {
	t.Parallel() // most of it waits for the Sentinel; all servers are its own
	master := testenv.StartRedis(t, "--repl-diskless-sync-delay", "0")
	_, port, _ := strings.Cut(master.Addr(), ":")
	replica := testenv.StartRedis(t, "--replicaof", "127.0.0.1 "+port)
	awaitInfo(t, replica.Client(), "master_link_status:up")
	sentinel := testenv.StartSentinel(t, "sale", master)
	eventually(t, "the Sentinel's knowledge of the replica", func() bool {
		info, err := sentinel.Client().Info(background(), "sentinel").Result()
		return err == nil && strings.Contains(info, "slaves=1")
	})
	// A user at the Sentinel with what docs/redis.md says, and one at the servers.
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sentinel.Client().Do(background(), "acl", "setuser", "watch", "reset", "on", ">hush", "allchannels", "-@all", "+ping",
		"+sentinel|get-master-addr-by-name", "+sentinel|sentinels", "+sentinel|replicas", "+subscribe", "+psubscribe").Err(); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(grant(t, master, RoleAll), master.Addr(), sentinel.Addr()+"/sale", 1)
	grant(t, replica, RoleAll)
	rdb, err := Server{URL: strings.Replace(url, "redis://", "redis-sentinel://", 1), SentinelUser: "watch", SentinelPasswordFile: file}.Open(background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	if got := warned(t, rdb); len(got) != 1 || !strings.Contains(got[0], "of the Sentinels, port "+port) || !strings.Contains(got[0], "min-replicas") {
		t.Errorf("check: got %q, want the advice on replicas for the master", got)
	}
	l, conf := New(rdb), openConf()
	name := roomName(t)
	if err := l.Create(background(), name, conf, "test"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(background())
	var p pulse
	var all sync.WaitGroup
	all.Go(func() { p.admit(ctx, l, name, conf) }) // until stop
	eventually(t, "rounds", func() bool { return p.rounds() > 5 })
	replicated(t, master, name)
	master.Kill()
	killed := time.Now()
	awaitInfo(t, replica.Client(), "role:master")
	promoted, before := time.Since(killed), p.rounds()
	eventually(t, "rounds after the promotion", func() bool { return p.rounds() > before+5 })
	stop()
	all.Wait()
	t.Logf("promoted after %v, longest pause between two rounds %v", promoted, p.longest)
	// The Sentinel asks the promoted one once a second, and tells when it knows.
	if most := promoted + followGap + 2*time.Second; p.longest > most {
		t.Errorf("admission stood still for %v, want at most %v", p.longest, most)
	}
	for _, server := range []*testenv.RedisServer{sentinel, replica} {
		if got := refusedBy(t, server); len(got) > 0 {
			t.Errorf("%s refused %q, want nothing", server.Addr(), got)
		}
	}
	if _, err := open("redis-sentinel://" + sentinel.Addr() + "/another"); err == nil || !strings.Contains(err.Error(), "no Sentinel knows a master of this name") {
		t.Errorf("an unknown master: got %v, want an error that says so", err)
	}
	if _, err := Check(background(), dial(t, "redis://"+sentinel.Addr()), RoleAll); err == nil || !strings.Contains(err.Error(), "redis-sentinel://") {
		t.Errorf("a Sentinel as a server: got %v, want an error that names the right scheme", err)
	}
}

func TestShardsOfOneServer(t *testing.T) {
	names := []room.Name{"b", "a"}
	if got := New(mini(t)).Shards(background(), names); len(got) != 1 || !slices.Equal(got[0], names) {
		t.Errorf("got %v, want one group in the order given", got)
	}
	// A cluster that nobody reaches: the call that follows says so.
	ctx, cancel := context.WithTimeout(background(), 100*time.Millisecond)
	defer cancel()
	if got := New(dial(t, "redis-cluster://127.0.0.1:1")).Shards(ctx, names); len(got) != 1 || !slices.Equal(got[0], names) {
		t.Errorf("without a map: got %v, want one group", got)
	}
}

func BenchmarkShards(b *testing.B) {
	l := New(testenv.Cluster(b))
	names := make([]room.Name, room.MaxRooms)
	for i := range names {
		names[i] = room.Name(fmt.Sprintf("room-%d", i))
	}
	for b.Loop() {
		l.Shards(background(), names)
	}
}

func TestLooksOnFullMemory(t *testing.T) {
	server := testenv.StartRedis(t)
	fullLooks(t, New(dial(t, server.URL())), func(room.Name) *testenv.RedisServer { return server })
}

// A Redis whose memory is full is read all the same, and answers what it did before.
func fullLooks(t *testing.T, l *Lines, of func(room.Name) *testenv.RedisServer) {
	ctx, conf := background(), openConf()
	name := create(t, l, conf)
	join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 20)
	admit(t, l, name, conf, 10)
	before, err1 := l.Snapshot(ctx, name, 0)
	turn, err2 := l.Turn(ctx, name, 0)
	status, err3 := l.Status(ctx, name)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	server := of(name)
	limit := func(most string) {
		t.Helper()
		if err := server.Client().ConfigSet(ctx, "maxmemory", most).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit("1")
	defer limit("0")
	if _, err := l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 2}, visitors(1)); !errors.Is(err, room.ErrMemory) {
		t.Fatalf("join: got %v, want %v", err, room.ErrMemory)
	}
	if got, err := l.Snapshot(ctx, name, 0); err != nil || got.Seq != before.Seq || got.Waiting != 10 || !slices.Equal(got.Gone, before.Gone) {
		t.Errorf("snapshot: got %+v, %v, want %+v", got, err, before)
	}
	if got, err := l.Turn(ctx, name, 0); err != nil || got.Head != turn.Head || !slices.Equal(got.Gone, turn.Gone) {
		t.Errorf("turn: got %+v, %v, want %+v", got, err, turn)
	}
	if got, err := l.Status(ctx, name); err != nil || got.Unclaimed != 10 || got.Stats != status.Stats {
		t.Errorf("status: got %+v, %v, want %+v", got, err, status)
	}
	if _, err := l.Status(ctx, roomName(t)); !errors.Is(err, room.ErrUnknown) && !errors.Is(err, room.ErrMemory) {
		t.Errorf("status of nobody's room: got %v", err)
	}
	if got := warned(t, l.rdb); !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, server.Addr()+": its memory is full") }) {
		t.Errorf("check: got %q, want the full memory of %s", got, server.Addr())
	}
}

// Bounds of the time for which admission may stand still after a master's kill -9.
const (
	admissionGap = 6 * time.Second
	// On a busy machine the vote alone may take longer; what is ours is the time from
	// the promotion on: the age of the map, twice, a dial and a client's pause.
	followGap = 1500 * time.Millisecond
)

// killMaster kills the master of a room and runs rounds there, as the admitter does,
// and in a room of each other master. The room of the dead one goes on in time, with
// every number once and in order; the others do not notice.
func killMaster(t *testing.T, c *testenv.RedisCluster) {
	l, conf := New(dial(t, c.URL())), openConf()
	rooms := oneOnEach(t, l, conf)
	for _, name := range rooms {
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 2_000)
	}
	victim := c.MasterOf(confKey(rooms[0]))
	ctx, stop := context.WithCancel(background())
	defer stop()
	pulses := make([]pulse, len(rooms))
	var all sync.WaitGroup
	for i, name := range rooms {
		all.Go(func() { pulses[i].admit(ctx, l, name, conf) }) // until stop
	}
	eventually(t, "rounds in all rooms", func() bool { return pulses[0].rounds() > 5 && pulses[1].rounds() > 5 && pulses[2].rounds() > 5 })
	replicated(t, victim, rooms[0])
	victim.Kill()
	killed := time.Now()
	c.MasterOf(confKey(rooms[0]))
	promoted, before := time.Since(killed), pulses[0].rounds()
	eventually(t, "rounds in the room of the dead master", func() bool { return pulses[0].rounds() > before+5 })
	stop()
	all.Wait()
	t.Logf("promoted after %v; longest pause between two rounds: %v in the room of the dead master, %v and %v in the others",
		promoted, pulses[0].longest, pulses[1].longest, pulses[2].longest)
	if most := max(admissionGap, promoted+followGap); pulses[0].longest > most {
		t.Errorf("admission stood still for %v, want at most %v", pulses[0].longest, most)
	}
	for i := range pulses[1:] {
		if p := &pulses[1+i]; p.longest > time.Second {
			t.Errorf("admission of a room elsewhere stood still for %v", p.longest)
		}
	}
	victim.Restart()
	c.Await()
}

// replicated returns when the replica has all that was written of a room. Of a new
// replica no other word will do: its master calls it online, and sends it nothing
// until it has answered once, up to a second later.
func replicated(t *testing.T, master *testenv.RedisServer, name room.Name) {
	t.Helper()
	conn := master.Client().Conn() // WAIT is about what its own connection wrote
	defer conn.Close()
	err := conn.Set(background(), key(name, "test"), 1, time.Minute).Err()
	if n, err2 := conn.Wait(background(), 1, 10*time.Second).Result(); err != nil || err2 != nil || n != 1 {
		t.Fatalf("await the replica of %s: got %d, %v, %v", master.Addr(), n, err, err2)
	}
}

// oneOnEach makes a room on each master.
func oneOnEach(t *testing.T, l *Lines, conf room.Conf) []room.Name {
	t.Helper()
	var names []room.Name
	for range 100 {
		if groups := l.Shards(background(), append(slices.Clone(names), roomName(t))); len(groups) > len(names) {
			names = append(names, groups[len(names)][0])
		}
	}
	if len(names) != 3 {
		t.Fatalf("a hundred names lie on %d masters, want 3", len(names))
	}
	for _, name := range names {
		if err := l.Create(background(), name, conf, "test"); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// pulse is when rounds of a room were answered.
type pulse struct {
	mu      sync.Mutex
	done    int           // guarded by mu
	longest time.Duration // between two answers; to be read when admit has returned
}

func (p *pulse) rounds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// admit runs a round each 20 ms until ctx ends, with the patience of the admitter.
func (p *pulse) admit(ctx context.Context, l *Lines, name room.Name, conf room.Conf) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		call, cancel := context.WithTimeout(ctx, time.Second)
		_, err := l.Admit(call, name, caller(conf.Epoch), 1)
		cancel()
		if err == nil {
			p.longest = max(p.longest, time.Since(last))
			last = time.Now()
			p.mu.Lock()
			p.done++
			p.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// loseSlots takes a master and its replica away: the others are asked and say how
// much is missing.
func loseSlots(t *testing.T, c *testenv.RedisCluster) {
	rdb := dial(t, c.URL())
	warned(t, rdb) // the client has its map
	master := c.MasterOf("wr1:{x}:conf")
	info, err := master.Client().Info(background(), "replication").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range c.Nodes {
		if _, port, _ := strings.Cut(node.Addr(), ":"); strings.Contains(info, "port="+port+",") {
			node.Kill() // its replica, which would be promoted
		}
	}
	master.Kill()
	eventually(t, "the word of the others", func() bool {
		ctx, cancel := context.WithTimeout(background(), 5*time.Second)
		defer cancel()
		warnings, err := Check(ctx, rdb, RoleAll)
		return err == nil && slices.ContainsFunc(warnings, func(line string) bool { return strings.Contains(line, "of 16384 slots are served") })
	})
}
