package main

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// crowd is a capped room with visitors in it, whose shop is the test.
type crowd struct {
	t     *testing.T
	lines *line.Lines
	shop  *kafkaio.Writer
	name  room.Name
	epoch room.Epoch
	ids   []room.VisitorID
	done  int // visitors that have finished
}

// inside is the cap: visitors of every partition.
const inside = 40

func newCrowd(t *testing.T, redis, kafka string) *crowd {
	t.Helper()
	conf := room.DefaultConf()
	conf.Epoch, conf.Rate, conf.Burst, conf.MaxActive, conf.State = room.NewEpoch(), 400_000, 400, inside, room.Open
	c := &crowd{t: t, lines: linesOf(t, redis), name: room.Name(testenv.Room(t)), epoch: conf.Epoch,
		shop: kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: []string{kafka}})}
	t.Cleanup(func() { c.shop.Close() })
	if err := c.lines.Create(t.Context(), c.name, conf, "test"); err != nil {
		t.Fatal(err)
	}
	for range 400 {
		c.ids = append(c.ids, room.NewVisitorID())
	}
	joined, err := c.lines.Join(t.Context(), c.name, room.Caller{Epoch: c.epoch}, room.Lane{Name: "test", Batch: 1}, c.ids)
	if err != nil || joined.Granted != len(c.ids) {
		t.Fatalf("join: got %d, %v, want %d", joined.Granted, err, len(c.ids))
	}
	return c
}

// until waits for a fact about the room, and says how long it took.
func (c *crowd) until(what string, most time.Duration, fact func(room.Status) bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for {
		status, err := c.lines.Status(c.t.Context(), c.name)
		if err == nil && fact(status) {
			return time.Since(began)
		}
		if time.Since(began) > most {
			c.t.Fatalf("%s: not within %v; %v, %+v", what, most, err, status.Stats)
		}
		wait(c.t.Context(), 5*time.Millisecond)
	}
}

// finish has the shop say that everybody inside is done, and waits until the next
// ones are inside in their place.
func (c *crowd) finish(most time.Duration) time.Duration {
	c.t.Helper()
	c.until("the room is full", time.Minute, func(s room.Status) bool { return int(s.Stats.Admitted) == c.done+inside })
	var facts []events.Record
	for i := range inside {
		id := room.Admission{Room: c.name, Epoch: c.epoch, Number: room.Number(c.done + i + 1), Visitor: c.ids[c.done+i]}.String()
		facts = append(facts, events.EncodeBooking(events.Booking{Type: events.TypeFinished, ID: "f-" + id,
			Room: c.name, Epoch: c.epoch, Admission: id, AtMS: time.Now().UnixMilli()}))
	}
	if err := c.shop.Publish(c.t.Context(), facts); err != nil {
		c.t.Fatal(err)
	}
	c.done += inside
	return c.until("the slots are free and taken again", most, func(s room.Status) bool { return int(s.Stats.Admitted) == c.done+inside })
}

func admitter(t *testing.T, redis, kafka string) (*exec.Cmd, *logs) {
	t.Helper()
	cmd := command(t, "run", "--redis", redis, "--kafka", kafka, "--ops-listen", "127.0.0.1:0")
	said := &logs{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, said
}

// An admitter that is killed holds up nobody's slots, nor does one that starts or
// stops: the room goes on within 2 s. A stop takes 5 s at most.
func TestKill(t *testing.T) {
	kafka := testenv.Kafka(t)
	redis := redisURL(t)
	run := make([]*exec.Cmd, 3)
	for i := range run {
		run[i], _ = admitter(t, redis, kafka)
	}
	c := newCrowd(t, redis, kafka)
	c.finish(time.Minute) // all have begun
	const most = 2 * time.Second
	var worst time.Duration
	for i := range 3 {
		if err := run[i].Process.Kill(); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, c.finish(time.Minute))
		_ = run[i].Wait()
		run[i], _ = admitter(t, redis, kafka)
		worst = max(worst, c.finish(time.Minute))
	}
	t.Logf("kills and starts: the slots came back within %v", worst)
	if worst > most {
		t.Errorf("kills and starts: got the slots back after %v, want %v", worst, most)
	}
	began := time.Now()
	if err := run[0].Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	took := c.finish(time.Minute)
	if err := run[0].Wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0", err)
	}
	if stop := time.Since(began) - took; stop > 5*time.Second {
		t.Errorf("got stopped after %v, want within 5 s", stop)
	}
	t.Logf("a stop: the slots came back after %v", took)
	if took > most {
		t.Errorf("a stop: got the slots back after %v, want %v", took, most)
	}
}
