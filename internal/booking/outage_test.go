package booking

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/wire"
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

// A request that meets a server out of reach, or a booker with as many as it
// serves, is told in the log: once, not once per visitor, and not in the answers
// alone.
func TestRefusedRequestsAreTold(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := newBooker(t, sqliteDSN(t), 1, func(p *Parts) { p.Log = zap.New(core) })
	c := client{t, b.Handler()}
	get := func(code wire.Code, cause string) {
		t.Helper()
		for range 3 {
			wantProblem(t, cause, c.do("GET", "/rooms/gig/pass", bearer(newPass()), ""), code)
		}
		all := logs.TakeAll()
		if len(all) != 1 || all[0].Level != zap.WarnLevel || !strings.Contains(all[0].ContextMap()["error"].(string), cause) {
			t.Errorf("%s: got %v logged, want one warning with the cause", code, all)
		}
	}
	b.passes = keysAway{}
	get(wire.Unavailable, "public keys are out of reach")
	b.passes = unsigned{}
	for range cap(b.calls) {
		b.calls <- struct{}{}
	}
	get(wire.Overloaded, "--max-calls")
}
