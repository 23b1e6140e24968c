package bot

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// What a zero Config or Plan stands for.
const (
	backoffMin  = time.Second
	backoffMax  = 30 * time.Second
	planned     = 30 * time.Second // within which a planned leave or drop happens
	joinsAtMost = 5
)

var (
	errNoNode    = errors.New("no node to go to")
	errLostTurns = errors.New("lost its turn too often")
)

// visitor is one visit. Owned by the goroutine of Run; a connection's reader
// only hands frames over.
type visitor struct {
	// set once
	config Config
	rand   *rand.Rand
	http   *http.Client

	// the state of the visit
	out     Outcome
	node    int    // index of the node talked to, modulo their number
	attempt int    // connections failed since the last joined
	place   string // the token to come back with, "" when there is none
	spent   int    // places used up

	// drawn per stay
	leaveAt, dropAt time.Time // zero: not planned
	missClaim       bool
	leaving         bool // has said so, and no answer came yet
}

// Run is one visit, from arrival to its end. It returns when the context ends
// too, and leaves no goroutine and no connection behind.
func Run(ctx context.Context, config Config) Outcome {
	v := newVisitor(config)
	if config.HTTP == nil {
		client := newClient()
		defer client.CloseIdleConnections()
		v.http = client
	}
	v.out.Began = time.Now()
	v.out.End, v.out.Err = v.visit(ctx)
	v.out.Ended = time.Now()
	if v.out.Err != nil {
		v.log("ends: %s: %v", v.out.End, v.out.Err)
	} else {
		v.log("ends: %s %v", v.out.End, v.out.Seats)
	}
	return v.out
}

// Crowd runs n visitors who arrive at random moments within arrival, and returns
// their outcomes in order of their making once the last has ended.
func Crowd(ctx context.Context, config Config, n int, arrival time.Duration) []Outcome {
	seeds := randOr(config.Rand)
	if config.HTTP == nil {
		client := newClient()
		defer client.CloseIdleConnections()
		config.HTTP = client
	}
	outcomes := make([]Outcome, n)
	var crowd sync.WaitGroup
	for i := range n {
		one := config
		one.Rand = rand.New(rand.NewPCG(seeds.Uint64(), seeds.Uint64()))
		delay := time.Duration(seeds.Float64() * float64(arrival))
		// Ends with the visit, which ends with ctx; Wait below waits.
		crowd.Go(func() {
			if !sleep(ctx, delay) {
				outcomes[i] = Outcome{End: Stopped, Err: ctx.Err()}
				return
			}
			outcomes[i] = Run(ctx, one)
		})
	}
	crowd.Wait()
	return outcomes
}

// newClient keeps enough idle connections for a crowd: the default of 2 per host
// would open a new one for nearly every call, until the ports run out.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}}
}

func randOr(r *rand.Rand) *rand.Rand {
	if r != nil {
		return r
	}
	return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
}

func newVisitor(config Config) *visitor {
	def := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	def(&config.BackoffMin, backoffMin)
	def(&config.BackoffMax, backoffMax)
	def(&config.Plan.LeaveIn, planned)
	def(&config.Plan.DropIn, planned)
	config.Plan.MaxSeats = max(1, config.Plan.MaxSeats)
	if config.Plan.Joins == 0 {
		config.Plan.Joins = joinsAtMost
	}
	v := &visitor{config: config, rand: randOr(config.Rand), http: config.HTTP, place: config.Place}
	if len(config.Nodes) > 0 {
		v.node = v.rand.IntN(len(config.Nodes))
	}
	return v
}

// visit goes from the line into the shop, and back to the tail of the line when
// a turn was lost that was meant to be used.
func (v *visitor) visit(ctx context.Context) (End, error) {
	if len(v.config.Nodes) == 0 {
		return Failed, errNoNode
	}
	if _, err := room.ParseName(string(v.config.Room)); err != nil {
		return Failed, err
	}
	for {
		pass, end, err := v.queue(ctx)
		if end != "" {
			return end, err
		}
		if v.chance(v.config.Plan.NoShow) {
			return Left, nil
		}
		v.out.InShop = true
		end, err = v.shop(ctx, pass)
		if end != "" {
			return end, err
		}
		// The pass expired before anything was booked.
		if err := v.again(); err != nil {
			return Failed, err
		}
	}
}

// again drops the place; the next join goes to the tail.
func (v *visitor) again() error {
	v.place = ""
	if v.spent++; v.spent >= v.config.Plan.Joins {
		return errLostTurns
	}
	v.log("joins again at the tail")
	return nil
}

func (v *visitor) stay() *Stay { return &v.out.Stays[len(v.out.Stays)-1] }

func (v *visitor) chance(p float64) bool { return v.rand.Float64() < p }

// within is a random time below d.
func (v *visitor) within(d time.Duration) time.Duration {
	return time.Duration(v.rand.Float64() * float64(d))
}

// think is how long a step takes when left is the time there is for it.
func (v *visitor) think(left time.Duration) time.Duration {
	return v.within(min(v.config.Plan.Think, left/2))
}

// backoff is full jitter: a random time below a ceiling that doubles.
func (v *visitor) backoff() time.Duration {
	d := v.within(ceiling(v.config.BackoffMin, v.config.BackoffMax, v.attempt))
	v.attempt++
	return d
}

func ceiling(least, most time.Duration, attempt int) time.Duration {
	if attempt > 20 { // far above any ceiling, far below an overflow
		return most
	}
	return min(most, least<<attempt)
}

func (v *visitor) log(format string, args ...any) {
	if v.config.Log == nil {
		return
	}
	if len(v.out.Stays) > 0 {
		format, args = "number %d: "+format, append([]any{v.stay().Number}, args...)
	}
	v.config.Log(format, args...)
}

// sleep waits, and reports false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// codeError is a code of the protocol that ends a visit.
type codeError struct{ code wire.Code }

func (e codeError) Error() string { return "told " + string(e.code) }
