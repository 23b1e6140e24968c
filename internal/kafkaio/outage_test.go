package kafkaio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/events"
)

// A handler that takes its time to fail is one outage, and not Kafka's: its own
// line at the start, again while it lasts, and when it is over.
func TestHandlerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		began := time.Now()
		handle := func(context.Context, []events.Record) error {
			time.Sleep(20 * time.Second) // longer than the pauses between attempts
			if time.Since(began) < 9*time.Minute {
				return errors.New("the database is away")
			}
			return nil
		}
		p := &followedPartition{lot: newLot(zap.New(core), parkMost, nil, true), judge: judgeOf(handle), held: &held{}}
		p.first(t.Context(), []events.Record{{}})
		for len(p.parked) > 0 {
			time.Sleep(time.Until(p.due))
			p.again(t.Context())
		}
		var warned, over int
		for _, e := range logs.All() {
			if strings.Contains(e.Message, "kafka") {
				t.Errorf("got %q, want it to be the handler's", e.Message)
			}
			switch e.Level {
			case zap.WarnLevel:
				warned++
			case zap.InfoLevel:
				over++
			}
		}
		if warned != 2 || over != 1 {
			t.Errorf("nine minutes: got %d warnings and %d ends, want 2 and 1", warned, over)
		}
	})
}

// What has the key of a record that waits is not handed over before it.
func TestKeyWaits(t *testing.T) {
	var seen []string
	judge := func(_ context.Context, records []events.Record) []events.Verdict {
		for _, r := range records {
			seen = append(seen, string(r.Value))
		}
		return make([]events.Verdict, len(records))
	}
	record := func(key, value string, offset int64) events.Record {
		return events.Record{Key: []byte(key), Value: []byte(value), Offset: offset}
	}
	p := &followedPartition{lot: newLot(zap.NewNop(), parkMost, nil, true), judge: judge, held: &held{},
		parked: []parked{{record: record("k", "1", 1)}}}
	p.first(t.Context(), []events.Record{record("k", "2", 2), record("other", "x", 3)})
	p.again(t.Context())
	if got := strings.Join(seen, " "); got != "x 1 2" || len(p.parked) != 0 {
		t.Errorf("got %s, %d parked, want x 1 2 and none", got, len(p.parked))
	}
}
