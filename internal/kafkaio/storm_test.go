package kafkaio

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waitroom/internal/events"
	"waitroom/internal/testenv"
)

// The test binary is a member of a group when it is told so: it says the value of
// each record on a line.
func TestMain(m *testing.M) {
	if brokers := os.Getenv("KAFKAIO_TEST_MEMBER"); brokers != "" {
		topic := os.Getenv("KAFKAIO_TEST_TOPIC")
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		_ = NewConsumer(ConsumerConfig{Brokers: strings.Split(brokers, ","), Group: topic, Topics: []string{topic}}).Run(ctx,
			func(_ context.Context, records []events.Record) error {
				for _, r := range records {
					fmt.Println(string(r.Value))
				}
				return nil
			})
		return
	}
	// A broker in memory that is closed while requests wait for their control leaves the
	// goroutines of those behind; they are its own.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*Cluster).runControl.func1"))
}

// A member that is killed every 4 s and started again at once, alone and as one of
// three, leaves no record unhandled for more than 10 s.
func TestStorm(t *testing.T) {
	broker := testenv.Kafka(t)
	kills := 3
	if os.Getenv("WAITROOM_LONG") != "" {
		kills = 10
	}
	for members, name := range map[int]string{1: "alone", 3: "of three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &storm{t: t, broker: broker, topic: topicFor(t, []string{broker}, "storm"), sent: map[string]time.Time{}}
			for range members {
				s.start()
			}
			w := writerFor(t, []string{broker})
			ctx, cancel := context.WithCancel(t.Context())
			var publishing sync.WaitGroup
			publishing.Go(func() {
				for n := 0; ctx.Err() == nil; n += Partitions {
					s.publish(ctx, w, n)
					sleep(ctx, 50*time.Millisecond)
				}
			})
			until(t, "the first records", func() bool { return s.handled() > 0 })
			for i := range kills {
				sleep(t.Context(), 4*time.Second) // what is measured, not waited for
				s.kill()
				if i < kills-1 || members == 1 { // the last one of three stays away
					s.start()
				}
			}
			sleep(t.Context(), time.Second) // of records that fall to it
			cancel()
			publishing.Wait()
			until(t, "every record", func() bool { return s.left() == 0 })
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Logf("%d kills, the latest record came after %v", kills, s.worst.Round(10*time.Millisecond))
			if s.worst > 10*time.Second {
				t.Errorf("got a record %v late, want 10 s at most", s.worst)
			}
		})
	}
}

type storm struct {
	t             *testing.T
	broker, topic string
	members       []*exec.Cmd // by age; of the test's goroutine

	mu    sync.Mutex
	sent  map[string]time.Time // and not handled yet
	seen  int
	worst time.Duration
}

func (s *storm) start() {
	cmd := exec.CommandContext(s.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "KAFKAIO_TEST_MEMBER="+s.broker, "KAFKAIO_TEST_TOPIC="+s.topic)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.members = append(s.members, cmd)
	heard := make(chan struct{}) // ends with the process
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-heard
		_ = cmd.Wait()
	})
	go func() {
		defer close(heard)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.mu.Lock()
			if at, ok := s.sent[lines.Text()]; ok {
				delete(s.sent, lines.Text())
				s.seen++
				s.worst = max(s.worst, time.Since(at))
			}
			s.mu.Unlock()
		}
	}()
}

// kill ends the oldest member as a machine that is switched off does.
func (s *storm) kill() {
	_ = s.members[0].Process.Kill()
	s.members = s.members[1:]
}

// publish sends a record to most partitions.
func (s *storm) publish(ctx context.Context, w *Writer, n int) {
	records := numbered(s.topic, n, n+Partitions)
	for _, r := range records {
		s.mu.Lock()
		s.sent[string(r.Value)] = time.Now()
		s.mu.Unlock()
	}
	for _, i := range events.Missing(w.Publish(ctx, records), len(records)) {
		s.mu.Lock()
		delete(s.sent, string(records[i].Value))
		s.mu.Unlock()
	}
}

func (s *storm) handled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *storm) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}
