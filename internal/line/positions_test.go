package line

import (
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/rank"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// Every position counted from a tick's read is ZRANK + 1 of the same moment:
// both are read in one MULTI while visitors join, leave mid-line and are admitted.
func TestPositionsAreRanks(t *testing.T) {
	rdb := testenv.Redis(t)
	ctx, l, conf := background(), New(rdb), openConf()
	conf.Rate = 200_000
	name := create(t, l, conf)
	by := caller(conf.Epoch)
	first := join(t, l, name, conf, room.Lane{Name: "start", Batch: 1}, 2_000)

	begin, stop := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	churn := func(act func(round int) error) {
		// Ends with stop; the test waits for it below.
		wait.Go(func() {
			<-begin
			for round := 1; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := act(round); err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
			}
		})
	}
	for _, node := range []string{"a", "b"} {
		churn(func(round int) error {
			ids := visitors(20)
			joined, err := l.Join(ctx, name, by, room.Lane{Name: node, Batch: int64(round)}, ids)
			if err != nil {
				return err
			}
			for i := 0; i < joined.Granted; i += 3 {
				err := l.Leave(ctx, name, by, room.Place{Visitor: ids[i], Number: joined.First + room.Number(i)})
				if err != nil && err != room.ErrSpent && err != room.ErrActive {
					return err
				}
			}
			return nil
		})
	}
	churn(func(round int) error { // from the middle of those who were first
		p := first[(round*7919)%len(first)]
		if err := l.Leave(ctx, name, by, p); err != nil && err != room.ErrSpent {
			return err
		}
		return nil
	})
	churn(func(int) error {
		_, err := l.Admit(ctx, name, by, 3)
		return err
	})
	close(begin)

	compared, from := 0, int64(0)
	for range 150 {
		var reads lookReads
		var queue *redis.ZSliceCmd
		if _, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			reads = queueLook(ctx, p, name, lookLine, from, -1)
			queue = p.ZRangeWithScores(ctx, queueKey(name), 0, -1)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		found, err := reads.found(l)
		if err != nil {
			t.Fatal(err)
		}
		positions := rank.New(found.head, found.seq, from, found.gone)
		cursor := positions.Cursor()
		for i, z := range queue.Val() {
			if got, ok := cursor.Position(room.Number(z.Score)); !ok || got != room.Position(i+1) {
				t.Fatalf("number %v: got position %d, %v, want %d", z.Score, got, ok, i+1)
			}
			compared++
		}
		if found.waiting != int64(len(queue.Val())) {
			t.Fatalf("waiting: got %d, want %d", found.waiting, len(queue.Val()))
		}
		from = int64(found.head) >> 3 // as a node does: the next read starts at this head
	}
	close(stop)
	wait.Wait()
	if compared < 10_000 {
		t.Errorf("compared %d positions, want enough to mean something", compared)
	}
	t.Logf("%d positions compared", compared)
}
