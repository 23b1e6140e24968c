package booking

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Each step of the clock away from the database's and back is told, the one where
// seats are sold again too.
func TestClockIsTold(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	b := newBooker(t, sqliteDSN(t), 0, func(p *Parts) { p.Log = zap.New(core) })
	theirs := noon
	b.clock.read = func(context.Context) (time.Time, error) { return theirs, nil }
	for _, c := range []struct {
		off  time.Duration // theirs
		want string        // of the lines logged
	}{
		{0, ""},
		{-time.Second, "warn clock differs from the database's"},
		{-900 * time.Millisecond, ""},
		{-3 * time.Second, "error clock differs from the database's: no seat is held, sold or freed by this process"},
		{-4 * time.Second, ""},
		{-time.Second, "info clock is near the database's: seats are held, sold and freed again"},
		{0, "info clock agrees with the database's again"},
		{0, ""},
	} {
		theirs = noon.Add(c.off)
		if err := b.clock.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range logs.TakeAll() {
			got = append(got, e.Level.String()+" "+e.Message)
		}
		if got := strings.Join(got, "\n"); got != c.want {
			t.Errorf("database off by %s: got %q, want %q", c.off, got, c.want)
		}
	}
}
