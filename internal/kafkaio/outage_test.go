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
		if !(&reading{log: zap.New(core)}).handle(t.Context(), nil, handle) {
			t.Fatal("got false, want the records dealt with")
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
