package line

import (
	"context"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"waitroom/internal/embedded"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onServers runs a story over miniredis, over the real Redis, and over the real Redis
// Cluster.
func onServers(t *testing.T, story func(t *testing.T, rdb redis.UniversalClient)) {
	t.Run("miniredis", func(t *testing.T) { story(t, mini(t)) })
	t.Run("redis", func(t *testing.T) { story(t, testenv.Redis(t)) })
	t.Run("cluster", func(t *testing.T) { story(t, testenv.Cluster(t)) })
}

// keysOf are all keys of a room: of a cluster, those of its master.
func keysIn(ctx context.Context, rdb redis.UniversalClient, name room.Name) ([]string, error) {
	if nodes, ok := rdb.(*redis.ClusterClient); ok {
		master, err := nodes.MasterForKey(ctx, confKey(name))
		if err != nil {
			return nil, err
		}
		rdb = master
	}
	return rdb.Keys(ctx, "wr1:{"+string(name)+"}:*").Result()
}

// mini is a client of a miniredis of this test. It knows no ACL: the suite as a user with
// fewer rights does without it, since the run around that one has it.
func mini(t testing.TB) *redis.Client {
	t.Helper()
	if os.Getenv("WAITROOM_TEST_UNDER_ACL") != "" {
		t.Skip("as in the run without an ACL")
	}
	_, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client, err := Dial("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client.(*redis.Client)
}

// start is the hand clock's first moment, with microseconds that a careless
// conversion to text would cut.
const start int64 = 1_763_690_000_123_456

// hand is a clock moved by hand.
type hand struct{ us atomic.Int64 }

func newHand() *hand {
	h := &hand{}
	h.us.Store(start)
	return h
}

func (h *hand) now() int64            { return h.us.Load() }
func (h *hand) pass(d time.Duration)  { h.us.Add(d.Microseconds()) }
func (h *hand) at() time.Time         { return micros(h.now()) }
func (h *hand) ms() int64             { return h.now() / 1000 }
func ptr[T any](v T) *T               { return &v }
func caller(e room.Epoch) room.Caller { return room.Caller{Epoch: e, Process: "test"} }
func roomName(t testing.TB) room.Name { return room.Name(testenv.Room(t)) }
func background() context.Context     { return context.Background() }
func visitors(n int) []room.VisitorID {
	ids := make([]room.VisitorID, n)
	for i := range ids {
		ids[i] = room.NewVisitorID()
	}
	return ids
}

// openConf is an open room that lets through whatever the test does not limit.
func openConf() room.Conf {
	c := room.DefaultConf()
	c.Epoch, c.State = room.NewEpoch(), room.Open
	c.Rate, c.Burst, c.MaxActive, c.MaxWaiting = 1_000_000, 1_000, 100_000, 1_000_000
	return c
}

// create makes a room of that conf, and removes it when the test ends.
func create(t testing.TB, l *Lines, conf room.Conf) room.Name {
	t.Helper()
	name := roomName(t)
	if err := l.Create(background(), name, conf, "test"); err != nil {
		t.Fatalf("create: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Delete(background(), name, true, "test"); err != nil && err != room.ErrUnknown && err != room.ErrDeleted {
			t.Errorf("delete: %v", err)
		}
	})
	return name
}

func join(t testing.TB, l *Lines, name room.Name, conf room.Conf, lane room.Lane, n int) []room.Place {
	t.Helper()
	ids := visitors(n)
	joined, err := l.Join(background(), name, caller(conf.Epoch), lane, ids)
	if err != nil || joined.Granted != n {
		t.Fatalf("join of %d: got %+v, %v", n, joined, err)
	}
	places := make([]room.Place, n)
	for i := range places {
		places[i] = room.Place{Visitor: ids[i], Number: joined.First + room.Number(i)}
	}
	return places
}

// admit runs rounds until n were admitted: a new room's bucket is empty.
func admit(t testing.TB, l *Lines, name room.Name, conf room.Conf, n int) {
	t.Helper()
	for n > 0 {
		round, err := l.Admit(background(), name, caller(conf.Epoch), n)
		if err != nil || round.Admitted == 0 && round.Stop != room.StopRate {
			t.Fatalf("admit of %d: got %+v, %v", n, round, err)
		}
		n -= round.Admitted
	}
}

// lossy loses the reply of the next script: it takes effect, and the caller sees
// the connection end.
type lossy struct{ next atomic.Bool }

func (h *lossy) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *lossy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *lossy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !strings.HasPrefix(cmd.Name(), "eval") || (err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")) {
			return err
		}
		if h.next.CompareAndSwap(true, false) {
			cmd.SetErr(io.ErrUnexpectedEOF)
			return io.ErrUnexpectedEOF
		}
		return err
	}
}
