package admission_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"waitroom/internal/admission"
	"waitroom/internal/embedded"
	"waitroom/internal/events"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// What a dead node joined leaves a real line before its turn, and who was told of it
// comes back to the number.
func TestReaperOverALine(t *testing.T) {
	t.Run("stand-in", func(t *testing.T) {
		t.Parallel() // each waits until a node is dead
		_, addr, stop, err := embedded.Redis()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		rdb, err := line.Dial("redis://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rdb.Close() })
		testReaper(t, rdb)
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		testReaper(t, testenv.Redis(t))
	})
}

func testReaper(t *testing.T, rdb redis.UniversalClient) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	lines := line.New(rdb)
	name := room.Name(testenv.Room(t))
	conf := room.DefaultConf()
	conf.Epoch, conf.Rate, conf.State = room.NewEpoch(), 1000, room.Open
	if err := lines.Create(ctx, name, conf, "test"); err != nil {
		t.Fatal(err)
	}
	join := func(process string, n int) []room.Place {
		places := make([]room.Place, n)
		ids := make([]room.VisitorID, n)
		for i := range ids {
			ids[i] = room.NewVisitorID()
		}
		joined, err := lines.Join(ctx, name, room.Caller{Epoch: conf.Epoch, Process: process}, room.Lane{Name: process + "-0", Batch: 1}, ids)
		if err != nil || joined.Granted != n {
			t.Fatalf("join: got %d granted, %v, want %d", joined.Granted, err, n)
		}
		for i, id := range ids {
			places[i] = room.Place{Visitor: id, Number: joined.Number(i)}
		}
		return places
	}
	living, dead := "living"+string(name), "dead"+string(name)
	join(living, 25)
	lost := join(dead, 5)
	sign := func(id string) {
		if err := lines.Sign(ctx, room.Sign{ID: id, Role: room.RoleNode, Host: "test"}); err != nil {
			t.Errorf("sign: %v", err)
		}
	}
	sign(dead)

	service, err := admission.New(admission.Config{Process: "reaper" + string(name), Rooms: []string{string(name)}}, "test", lines, nowhere{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- service.Run(running) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	for {
		sign(living)
		stands, err := lines.Stands(ctx, name, lost)
		if err != nil {
			t.Fatalf("stands: %v", err)
		}
		out := 0
		for _, s := range stands {
			switch s.Standing {
			case room.Unclaimed, room.Active:
				t.Fatalf("a visitor of the dead node was admitted: %v", stands)
			case room.Gone, room.Unseen:
				out++
			}
		}
		if out == len(lost) {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the dead node's batch was not given back")
		}
		time.Sleep(100 * time.Millisecond) // between two looks at what comes by itself
	}
	stands, err := lines.Rejoin(ctx, name, room.Caller{Epoch: conf.Epoch, Process: living}, lost[2:3])
	if err != nil || stands[0].Standing != room.Waiting {
		t.Errorf("who shows such a place: got %v, %v, want it waiting again", stands, err)
	}
}

// nowhere takes every record.
type nowhere struct{}

func (nowhere) Publish(context.Context, []events.Record) error { return nil }
