package booking

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// Each row of what a running booker may see of clocks, and what follows. The booker a is
// looked at; b runs beside it or not. After ten seconds something happens, and a minute later
// a is at the time wanted.
func TestClockSees(t *testing.T) {
	const hour, minute = time.Hour, time.Minute
	for name, k := range map[string]struct {
		alone   bool
		happens func(w *fleet, a *machine)
		behind  time.Duration // of the seats' clock of a, behind the true time
		skewed  bool
		said    string
		pass    time.Duration // of the clock of passes, ahead of the true time
	}{
		"nothing":                   {happens: func(*fleet, *machine) {}},
		"nothing, alone":            {alone: true, happens: func(*fleet, *machine) {}},
		"its machine's is set":      {happens: func(_ *fleet, a *machine) { a.set = hour }, said: "this machine's clock was set"},
		"its machine's is set back": {happens: func(_ *fleet, a *machine) { a.set = -hour }, said: "this machine's clock was set"},
		"its machine's, alone":      {alone: true, happens: func(_ *fleet, a *machine) { a.set = hour }, said: "this machine's clock was set"},
		"the database's is set":     {happens: func(w *fleet, _ *machine) { w.there = hour }, said: "the database's clock was set"},
		"it is set back":            {happens: func(w *fleet, _ *machine) { w.there = -hour }, said: "the database's clock was set"},
		"it is set by seconds":      {happens: func(w *fleet, _ *machine) { w.there = 3 * time.Second }, said: "the database's clock was set"},
		"the database's, alone":     {alone: true, happens: func(w *fleet, _ *machine) { w.there = hour }, said: "the database's clock was set"},
		"all are set": {happens: func(w *fleet, _ *machine) {
			w.there = hour
			for _, m := range w.all {
				m.set = hour
			}
		}, said: "the database's clock was set", pass: hour},
		"both are set, alone": {alone: true, happens: func(w *fleet, a *machine) { w.there, a.set = -hour, -hour }, said: "the database's clock was set", pass: -hour},
		"it stood still": {happens: func(w *fleet, a *machine) {
			a.still = true
			w.pass(hour)
			a.still = false
		}, said: "this machine stood still"},
		"it stood still for seconds": {happens: func(w *fleet, a *machine) {
			a.still = true
			w.pass(3 * time.Second)
			a.still = false
		}, said: "this machine stood still"},
		"it stood still, and its clock was put right": {happens: func(w *fleet, a *machine) {
			a.still = true
			w.pass(hour)
			a.still, a.set = false, hour
		}, said: "this machine stood still"},
		"it stood still while the database's was set": {happens: func(w *fleet, a *machine) {
			a.still = true
			w.pass(minute)
			w.there = -hour
			w.pass(minute)
			a.still = false
		}, said: "this machine stood still", pass: -2 * minute}, // until its clock is put right
		"it stood still, alone": {alone: true, happens: func(w *fleet, a *machine) {
			a.still = true
			w.pass(hour)
			a.still = false
		}, behind: hour, said: "or this machine stood still", pass: -hour}, // until its clock is put right
		"it stood still, alone, and its clock was put right": {alone: true, happens: func(w *fleet, a *machine) {
			a.still = true
			w.pass(hour)
			a.still, a.set = false, hour
		}, behind: hour, said: "or this machine stood still"},
		"it stood still, and the database's was off": {happens: func(w *fleet, a *machine) {
			w.there = 400 * time.Millisecond
			w.pass(10 * time.Second)
			a.still = true
			w.pass(10 * minute)
			a.still = false
		}, said: "this machine stood still"},
		"its clocks are fast":        {happens: func(_ *fleet, a *machine) { a.drift = 60 * time.Millisecond }, skewed: true, behind: -3600 * time.Millisecond, said: "clock differs from the database's", pass: 3600 * time.Millisecond},
		"its clocks are slow, alone": {alone: true, happens: func(_ *fleet, a *machine) { a.drift = -60 * time.Millisecond }, skewed: true, behind: 3600 * time.Millisecond, said: "clock differs from the database's", pass: -3600 * time.Millisecond},
		"its clocks are slow":        {happens: func(_ *fleet, a *machine) { a.drift = -60 * time.Millisecond }, said: "its clock is slow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, sqliteDSN(t), 1)
			a := w.start(0)
			var b *machine
			if !k.alone {
				b = w.start(0)
			}
			w.pass(10 * time.Second)
			k.happens(w, a)
			w.pass(minute)
			a.wantTime(t, "a", w.run-k.behind)
			if _, err := a.clock.time(); (err != nil) != k.skewed {
				t.Errorf("got %v, want stopped %t", err, k.skewed)
			}
			if got := a.clock.passTime().Sub(w.now()) - k.pass; got.Abs() > clockEvery+warnSkew {
				t.Errorf("the clock of passes is %v beside the one wanted", got)
			}
			if n := a.logs.FilterMessageSnippet(k.said).Len(); (k.said == "") != (a.logs.Len() == 0) || n == 0 && k.said != "" {
				t.Errorf("got %v, want %q", a.logs.All(), k.said)
			}
			if b != nil {
				b.wantTime(t, "b", w.run)
				if _, err := b.clock.time(); err != nil {
					t.Errorf("b: got %v, want it to go on", err)
				}
			}
		})
	}
}

// What a booker that starts may see. The clocks are set by an hour or by seconds, while others
// run or after they stopped.
func TestClockStarts(t *testing.T) {
	for name, k := range map[string]struct {
		runs    bool          // a booker did, and does unless it is gone
		gone    time.Duration // since when; 0: it runs
		there   time.Duration // by which the database's clock was set, ten seconds before
		here    time.Duration // and the new machine's
		want    time.Duration // the seats' clock, ahead of the true time
		refused bool
	}{
		"first of all":                                {},
		"first, its clock is wrong":                   {here: 3 * time.Second, refused: true},
		"first, the database's is wrong":              {there: -3 * time.Second, refused: true},
		"beside another":                              {runs: true},
		"both were set":                               {runs: true, there: time.Hour, here: time.Hour},
		"both were set by seconds":                    {runs: true, there: 3 * time.Second, here: 3 * time.Second},
		"both were set back":                          {runs: true, there: -time.Hour, here: -time.Hour},
		"the database's was set":                      {runs: true, there: time.Hour},
		"its own is wrong":                            {runs: true, here: -time.Hour},
		"both were set, and who ran is replaced":      {runs: true, gone: time.Second, there: time.Hour, here: time.Hour},
		"both were set, and nobody runs any more":     {runs: true, gone: 10 * time.Second, there: time.Hour, here: time.Hour, want: time.Hour},
		"nobody runs any more, and its own is wrong":  {runs: true, gone: time.Minute, here: time.Hour, refused: true},
		"nobody runs any more, the database's is off": {runs: true, gone: time.Minute, there: time.Hour, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, sqliteDSN(t), 1)
			if k.runs {
				w.start(0)
				w.pass(time.Minute)
			}
			w.there = k.there
			w.pass(10 * time.Second)
			if k.gone > 0 {
				w.all[0].gone = true
				w.pass(k.gone)
			}
			m := w.machine(k.here)
			if err := m.starts(); (err != nil) != k.refused || err != nil && !errors.Is(err, seat.ErrSkew) {
				t.Fatalf("got %v, want refused %t", err, k.refused)
			}
			if k.refused {
				return
			}
			w.all = append(w.all, m)
			for _, later := range []time.Duration{0, time.Minute} {
				w.pass(later)
				for _, m := range w.all {
					if m.gone {
						continue
					}
					m.wantTime(t, later.String()+" after the start", w.run+k.want)
					if _, err := m.clock.time(); err != nil {
						t.Errorf("%v after the start: got %v, want it to go on", later, err)
					}
				}
			}
			if _, sure := m.clock.ending(); !sure {
				t.Error("a minute after the start it ends no holds")
			}
		})
	}
}

// A booker that runs tells the time, and one that starts beside it listens.
func TestRunTellsTheTime(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		first, err := New(t.Context(), config, newBookerParts(t, dsn))
		if err != nil {
			t.Fatal(err)
		}
		if _, sure := first.clock.ending(); !sure {
			t.Error("the first of all waits for others before it ends holds")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- first.Run(ctx) }()
		var said moment
		await(t, "a moment", func() bool {
			said, err = first.clock.others.read(t.Context())
			return err != nil || said != moment{}
		})
		if got := time.Since(said.at()); err != nil || got.Abs() > mostSkew || !said.fresh(time.Now()) {
			t.Errorf("got %+v, %v, want a moment of now", said, err)
		}
		next, err := New(t.Context(), config, newBookerParts(t, dsn))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := next.clock.time(); err != nil {
			t.Errorf("the next sells nothing: %v", err)
		}
		if _, sure := next.clock.ending(); sure {
			t.Error("the next ends holds before it has listened")
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// A booker that does not trust its clock forgets nothing: a pass whose admission is
// forgotten would open the shop again.
func TestNothingIsForgottenByAWrongClock(t *testing.T) {
	w := newFleet(t, sqliteDSN(t), 1)
	a := w.start(0)
	w.pass(10 * time.Second)
	p := newPass()
	if err := a.Leave(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	forget := func(what string, m *machine, forgotten bool) {
		t.Helper()
		if _, err := m.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.admission(t.Context(), p.Admission.String()); (err != nil) != forgotten {
			t.Errorf("%s: got %v, want the admission forgotten %t", what, err, forgotten)
		}
	}
	w.there, a.set = 2*config.Keep, 2*config.Keep
	b := w.start(2 * config.Keep) // before a has noticed
	forget("while it listens", b, false)
	w.pass(time.Minute)
	forget("on the others' time", b, false)
	a.gone, b.gone = true, true
	w.pass(time.Minute)
	c := w.start(2 * config.Keep)
	w.pass(time.Minute)
	c.drift = clockEvery / 10
	w.pass(time.Minute)
	forget("while it differs", c, false)
	c.drift, c.gain = 0, 0
	w.pass(clockEvery)
	forget("later", c, true)
}

// A booker that does not trust its clock dates nothing by it: neither what is left of the
// seats, nor what the seat map's log keeps.
func TestNothingIsToldByAWrongClock(t *testing.T) {
	w := newFleet(t, sqliteDSN(t), 1)
	w.start(0)
	w.pass(time.Minute)
	told := func(what string, m *machine, want int) {
		t.Helper()
		m.Booker.store.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return epoch, false }
		if _, err := m.tellStock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := stockFacts(t, w.store); (got == "") != (want == 0) {
			t.Errorf("%s: got %q, want %d facts", what, got, want)
		}
		if now, sure := m.Ending(); sure != (want > 0) || !now.Equal(m.clock.at()) && sure {
			t.Errorf("%s: got %v, %t for who ends something", what, now, sure)
		}
	}
	b := w.start(0)
	told("while it listens", b, 0)
	w.pass(time.Minute)
	b.drift = -clockEvery / 10
	w.all[0].gone = true
	w.pass(time.Minute)
	told("while it differs", b, 0)
	b.drift, b.gain = 0, 0
	w.pass(clockEvery)
	told("later", b, 1)
}

// The time of those who ran stays while bookers come and go, the only one of them too.
func TestClockStaysAfterRestarts(t *testing.T) {
	w := newFleet(t, sqliteDSN(t), 1)
	w.start(0)
	w.there = time.Hour
	w.pass(10 * time.Second)
	for i := range 4 {
		w.all[len(w.all)-1].gone = true
		w.run += clockEvery
		m := w.start(time.Hour)
		w.pass(2 * clockEvery)
		m.wantTime(t, "after a restart", w.run)
		if _, err := m.clock.time(); err != nil {
			t.Errorf("restart %d: got %v, want it to go on", i, err)
		}
	}
}

// Who stood still between reading the newest moment and writing its own writes nothing.
func TestMomentIsWrittenOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		table := moments{newStore(t, dsn, 1)}
		check := func(want moment) {
			t.Helper()
			if got, err := table.read(t.Context()); got != want || err != nil {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
		first, second, third := moment{1000, 1001}, moment{2000, 2002}, moment{3000, 3003}
		check(moment{})
		for _, k := range []struct{ was, is, want moment }{
			{moment{}, first, first},
			{moment{}, third, first}, // it read when there was none
			{first, second, second},
			{first, third, second}, // it read the first
			{second, third, third},
		} {
			if err := table.write(t.Context(), k.was, k.is); err != nil {
				t.Errorf("write %+v: %v", k.is, err)
			}
			check(k.want)
		}
	})
}

// One of three clocks is wrong, and passes end by the others.
func TestPassTime(t *testing.T) {
	for name, k := range map[string]struct{ here, there, seats time.Duration }{
		"none":           {},
		"the machine's":  {here: time.Hour},
		"it is behind":   {here: -time.Hour},
		"the database's": {there: time.Hour},
		"the seats'":     {seats: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSeatsClock(func() time.Time { return noon.Add(k.here) },
				func(context.Context) (time.Time, error) { return noon.Add(k.there), nil }, zap.NewNop(), newMetrics(prometheus.NewRegistry()))
			c.start, c.since = noon, func() time.Duration { return k.seats }
			if err := c.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := c.passTime(); !got.Equal(noon) {
				t.Errorf("got %v, want %v", got, noon)
			}
		})
	}
}

// The time of a machine's sleep counts. A machine of a test can't sleep; but where its time
// since the beginning is put ahead by an hour, as after an hour of sleep, and its monotonic
// clock is not, the clock that bookers read must be the former.
func TestSleepCounts(t *testing.T) {
	const asleep, inside = time.Hour, "WAITROOM_TEST_ASLEEP"
	if os.Getenv(inside) != "" {
		slept, err := boottime()
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("awake " + slept.String() + "\n")
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells how long a machine slept")
	}
	awake, err := boottime()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "--time", "--boottime", "3600", "true").CombinedOutput(); err != nil {
		t.Skipf("no time of one's own can be had here: %v %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--time", "--boottime", "3600", os.Args[0], "-test.run", "^TestSleepCounts$")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "awake ")
	text, _, _ = strings.Cut(text, "\n")
	slept, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := slept - awake; got < asleep || got > asleep+time.Minute {
		t.Errorf("an hour of sleep counts as %v", got)
	}

	before, watch := time.Now(), stopwatch()
	await(t, "a clock that runs", func() bool { return watch() > 20*time.Millisecond })
	if got, most := watch(), time.Since(before); got > most+10*time.Millisecond {
		t.Errorf("the clock ran %v within %v", got, most)
	}
}
