package booking

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

func wished(name room.Name, w wish) *act {
	return &act{kind: w, pass: token.Pass{Admission: room.Admission{Room: name}}}
}

// What waits while a transaction runs is decided in the next one, in order of arrival.
func TestGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches [][]*act
		g := newGatherer(1, func(_ context.Context, acts []*act, alone bool) error {
			batches = append(batches, acts)
			time.Sleep(5 * time.Millisecond) // synctest's time
			return nil
		})
		all := make([]*act, 1+batchMost+10)
		var visitors sync.WaitGroup
		for i := range all {
			all[i] = wished("gig", toHold)
			visitors.Go(func() {
				if err := g.do(t.Context(), all[i]); err != nil {
					t.Errorf("got %v", err)
				}
			})
			synctest.Wait() // so that they come in order
		}
		visitors.Wait()
		var got []int
		for _, b := range batches {
			got = append(got, len(b))
		}
		if want := []int{1, batchMost, 10}; !slices.Equal(got, want) {
			t.Errorf("got batches of %v, want %v", got, want)
		}
		if !slices.Equal(slices.Concat(batches...), all) {
			t.Error("not in order of arrival")
		}
		synctest.Wait()
		if g.workers != 0 || g.count != 0 || len(g.lanes) != 0 || len(g.running) != 0 {
			t.Errorf("something is left: %+v", g)
		}
	})
}

// A room that stands still keeps nobody of another room waiting, and its confirms not
// its holds.
func TestOneLaneStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGatherer(2, func(ctx context.Context, acts []*act, _ bool) error {
			if acts[0].kind == toConfirm && acts[0].pass.Room == "stuck" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		var stuck sync.WaitGroup
		for range 5 {
			stuck.Go(func() {
				if err := g.do(t.Context(), wished("stuck", toConfirm)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the limit of a batch", err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for _, a := range []*act{wished("stuck", toHold), wished("other", toConfirm), wished("other", toHold)} {
			if err := g.do(t.Context(), a); err != nil {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the others waited %s", took)
		}
		stuck.Wait()
	})
}

// A visitor who goes away before the act is begun has not acted; one who goes later does
// not know.
func TestWhoGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var done atomic.Int64
		g := newGatherer(1, func(_ context.Context, acts []*act, _ bool) error {
			<-release
			done.Add(int64(len(acts)))
			return nil
		})
		ctx, leave := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- g.do(ctx, wished("gig", toHold)) }()
		synctest.Wait()
		go func() { second <- g.do(ctx, wished("gig", toHold)) }()
		synctest.Wait()
		leave()
		if err := <-first; !errors.Is(err, sqldb.ErrUnsure) {
			t.Errorf("begun: got %v, want %v", err, sqldb.ErrUnsure)
		}
		if err := <-second; !errors.Is(err, context.Canceled) || errors.Is(err, sqldb.ErrUnsure) {
			t.Errorf("not begun: got %v, want %v", err, context.Canceled)
		}
		close(release)
		synctest.Wait()
		if done.Load() != 1 || g.count != 0 {
			t.Errorf("got %d acts done and %d in the queue, want 1 and 0", done.Load(), g.count)
		}
	})
}

// The queue has a bound.
func TestQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := newGatherer(1, func(context.Context, []*act, bool) error { <-release; return nil })
		var crowd sync.WaitGroup
		for i := range waitingMost + 1 {
			crowd.Go(func() { _ = g.do(t.Context(), wished("gig", toHold)) })
			if i == 0 {
				synctest.Wait() // it is begun
			}
		}
		synctest.Wait()
		if err := g.do(t.Context(), wished("gig", toHold)); !errors.Is(err, seat.ErrBusy) {
			t.Errorf("got %v, want %v", err, seat.ErrBusy)
		}
		close(release)
		crowd.Wait()
	})
}

// An act that is at fault, or in whose way a stranger stands, costs nobody else: the
// others are decided, and it gets its own answer.
func TestFaultsStayAlone(t *testing.T) {
	poison := errors.New("poison")
	for name, c := range map[string]struct {
		fails func(a *act, alone bool) error // of the transaction
		lost  func(a *act, alone bool) error // of the act
		want  error
	}{
		"its row breaks the transaction": {fails: func(*act, bool) error { return poison }, want: poison},
		"it is locked for a moment": {lost: func(_ *act, alone bool) error {
			if alone {
				return nil
			}
			return errAlone
		}},
		"it is locked for good": {lost: func(*act, bool) error { return errAlone }, want: sqldb.ErrAway},
		"the batch meets a lock": {fails: func(_ *act, alone bool) error {
			if alone {
				return nil
			}
			return errContended
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := wished("gig", toRelease)
				g := newGatherer(1, func(_ context.Context, acts []*act, alone bool) error {
					time.Sleep(time.Millisecond) // synctest's time
					for _, a := range acts {
						a.err = nil
						if a != bad {
							continue
						}
						if c.lost != nil {
							a.err = c.lost(a, alone)
						}
						if c.fails != nil {
							if err := c.fails(a, alone); err != nil {
								return err
							}
						}
					}
					return nil
				})
				var visitors sync.WaitGroup
				for i := range 20 {
					visitors.Go(func() {
						a, want := wished("gig", toHold), error(nil)
						if i == 10 {
							a, want = bad, c.want
						}
						if err := g.do(t.Context(), a); !errors.Is(err, want) {
							t.Errorf("got %v, want %v", err, want)
						}
					})
				}
				visitors.Wait()
			})
		})
	}
}

// Many who want what a stranger has locked keep nobody waiting who wants something else,
// in their room or another, also where a row is locked there, too; and none waits for ever.
func TestManyAtALockedSeat(t *testing.T) {
	for name, c := range map[string]struct {
		lock time.Duration
		want error // of the crowd
		took time.Duration
	}{
		"for seconds": {3 * time.Second, nil, 3 * time.Second},
		"for good":    {time.Hour, sqldb.ErrAway, aloneLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				free := time.Now().Add(c.lock)
				g := newGatherer(1, func(ctx context.Context, acts []*act, alone bool) error {
					for _, a := range acts {
						a.err = nil
						switch {
						case a.kind != toRelease:
						case !alone:
							a.err = errAlone
						case a.pass.Room == "gig":
							select {
							case <-time.After(time.Until(free)): // synctest's time
							case <-ctx.Done():
								return sqldb.ErrAway
							}
						}
					}
					return nil
				})
				began := time.Now()
				var crowd sync.WaitGroup
				for range 3 * lonersMost {
					crowd.Go(func() {
						if err := g.do(t.Context(), wished("gig", toRelease)); !errors.Is(err, c.want) {
							t.Errorf("got %v, want %v", err, c.want)
						}
					})
				}
				synctest.Wait()
				for range 10 {
					for _, a := range []*act{wished("gig", toHold), wished("other", toRelease), wished("other", toHold)} {
						if err := g.do(t.Context(), a); err != nil {
							t.Errorf("got %v", err)
						}
					}
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("the others waited %s", took)
				}
				crowd.Wait()
				if took := time.Since(began); took != c.took {
					t.Errorf("the crowd waited %s, want %s", took, c.took)
				}
				synctest.Wait()
				if g.loners != 0 || g.count != 0 || len(g.lonely) != 0 || len(g.single) != 0 {
					t.Errorf("something is left: %d loners, %d waiting", g.loners, g.count)
				}
			})
		})
	}
}

// A database that is away, or does not say what became of a commit, is so for all: nothing
// is done twice.
func TestNothingIsDoneTwice(t *testing.T) {
	for _, cause := range []error{sqldb.ErrAway, sqldb.ErrUnsure} {
		synctest.Test(t, func(t *testing.T) {
			runs := map[*act]int{}
			g := newGatherer(1, func(_ context.Context, acts []*act, _ bool) error {
				time.Sleep(time.Millisecond) // synctest's time
				for _, a := range acts {
					runs[a]++
				}
				return cause
			})
			var visitors sync.WaitGroup
			for range 10 {
				visitors.Go(func() {
					if err := g.do(t.Context(), wished("gig", toConfirm)); !errors.Is(err, cause) {
						t.Errorf("got %v, want %v", err, cause)
					}
				})
			}
			visitors.Wait()
			for _, n := range runs {
				if n != 1 {
					t.Errorf("got an act run %d times, want once", n)
				}
			}
		})
	}
}
