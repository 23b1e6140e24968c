package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/bot"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
	"waitroom/test/internal/child"
)

const (
	clusterRooms = 50
	masters      = 3
	// What one room has to let in: about five until every process was killed, then two
	// a second from the master's kill until its rooms go on, which is 6 s at most, and
	// some to spare on a busy machine.
	clusterBots = 24
	// More than all bots of a room can buy, at two each, so that nobody is told that it
	// is sold out: a room that stands still would then stand still for that.
	clusterSeats = 2*clusterBots + 2
	// Ten admissions a second over all rooms while processes are killed; a hundred while
	// a master is, so that half a second of standing still shows in any room; then what
	// is left at once.
	clusterSlow, clusterSteady, clusterHurry room.Rate = 200, 2_000, 20_000
	clusterBurst                                       = 2 // the least of each of these rates

	// backWithin is the promise. Redis promotes a replica 3 to 4.5 s after the kill where
	// nodes are given up after 2 s; the rest is ours, and 0.5 to 1.3 s were seen. Where the
	// machine is so busy that the vote alone takes longer, only our part is judged.
	backWithin     = 6 * time.Second
	afterPromotion = 1500 * time.Millisecond
	// restless is how long a room of another master may be without an admission: half a
	// second for its rate, and a second that a busy machine takes. 0.53 s was the most
	// with ten processes waiting for two cores, 1.01 s with twenty; 1.0 to 1.9 s where
	// the cluster refuses all slots.
	restless = 1500 * time.Millisecond
)

// sale is one room of the fleet on a cluster.
type sale struct {
	name     room.Name
	master   *testenv.RedisServer // that held it at the beginning
	outcomes []bot.Outcome
	admitted int64 // before the kill of a master
}

// TestFleetOnACluster is fifty sales at once on two processes of each binary and the
// three masters of a cluster. One process of each binary is killed and started again,
// then one master is killed for good: its rooms go on within 6 s, those of the others
// do not notice. In the end the books of each room balance.
func TestFleetOnACluster(t *testing.T) {
	enabled(t)
	alone(t)
	// The setting that docs/redis.md asks for: without it a cluster that misses one
	// master refuses every room.
	c := testenv.StartRedisCluster(t, "--cluster-require-full-coverage", "no")
	client := c.Client()
	b, g := prepare(t, client, c.URL())
	began := time.Now()
	tell := func(format string, args ...any) {
		t.Helper()
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	sales := spread(t, c, testenv.Room(t))
	for _, s := range sales {
		must(t, "admitter", g.env, "room", "create", string(s.name), "--state", "open", "--rate", clusterSlow.String(),
			"--burst", fmt.Sprint(clusterBurst), "--max-active", "1000", "--claim", "15s", "--pass", "60s")
		must(t, "booker", g.env, "seats", "--room", string(s.name), "--count", fmt.Sprint(clusterSeats), "--new")
	}
	tell("%d rooms are made", len(sales))
	f := start(t, g)
	lines := line.New(client)
	tell("the fleet is ready")

	story := newStory(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	var crowds sync.WaitGroup
	defer func() { cancel(); crowds.Wait(); story.close() }()
	seed := rand.Uint64()
	t.Logf("seed of the bots: %d", seed)
	for i, s := range sales {
		crowds.Go(func() { // ends with its bots, which end with ctx
			s.outcomes = bot.Crowd(ctx, bot.Config{
				Nodes: f.nodes, Shops: f.shops, Room: s.name, Rand: rand.New(rand.NewPCG(seed, uint64(i))), Log: story.line,
				BackoffMin: 100 * time.Millisecond, BackoffMax: 2 * time.Second,
				Plan: bot.Plan{Drop: 0.1, DropIn: 20 * time.Second, Away: 2 * time.Second,
					NoShow: 0.6, Change: 0.1, MaxSeats: 2, Think: 300 * time.Millisecond},
			}, clusterBots, 2*time.Second)
		})
	}
	sold := func() int { return b.count("SELECT COUNT(*) FROM seats WHERE state = 'booked'") }
	more := func(n int) {
		t.Helper()
		want := sold() + n
		await(t, time.Minute, fmt.Sprintf("%d seats are booked", want), func() (bool, string) {
			n := sold()
			return n >= want, fmt.Sprint(n)
		})
	}
	for _, who := range []*child.Process{f.waitrooms[1], f.admitters[1], f.bookers[1]} {
		more(4)
		tell("kill -9 of %s at %d seats booked", who.Name, sold())
		who.Kill()
		who.Start()
		who.Ready()
	}
	more(4)
	set := func(r room.Rate) {
		t.Helper()
		for _, s := range sales {
			// A line that lost writes takes no act until it has asked its processes, 3 s.
			await(t, 10*time.Second, "the rate of "+string(s.name)+" is taken", func() (bool, string) {
				_, err := lines.Set(ctx, s.name, room.Change{Actor: "test", Rate: &r})
				if err != nil && !errors.Is(err, room.ErrRecovering) {
					t.Fatalf("rate of %s: %v", s.name, err)
				}
				return err == nil, fmt.Sprint(err)
			})
		}
	}
	set(clusterSteady)
	for _, s := range sales {
		s.admitted = status(t, lines, s).Stats.Admitted
	}
	admitAll(t, lines, sales, 20*time.Second)

	victim := sales[0].master
	killed := time.Now()
	victim.Kill()
	tell("kill -9 of the master of %d rooms", len(of(sales, victim, true)))
	c.MasterOf("wr1:{" + string(sales[0].name) + "}:conf")
	promoted := time.Since(killed)
	limit := max(backWithin, promoted+afterPromotion)
	tell("a replica is promoted %.1f s after the kill", promoted.Seconds())
	// What the promoted replica missed is admitted again, so one more than before the
	// kill is new.
	admitAll(t, lines, of(sales, victim, true), 30*time.Second)
	again := time.Now()
	tell("the last of them has admitted %.1f s after the kill", again.Sub(killed).Seconds())
	if gone := again.Sub(killed); gone > limit+2*time.Second { // for looking at each room, on a busy machine
		t.Errorf("the last room of the killed master admits %v after its kill, want %v at most", gone, limit)
	} else {
		for _, s := range sales {
			if got := status(t, lines, s); got.Waiting == 0 {
				t.Errorf("%s has nobody left: %d visitors were too few, and nothing was shown", s.name, clusterBots)
			}
		}
	}
	set(clusterHurry)
	crowds.Wait()
	tell("the last bot has ended")
	for _, s := range sales {
		for i, o := range s.outcomes {
			if o.End != bot.Booked && o.End != bot.Left {
				t.Errorf("%s: bot %d: got %s (%v), want booked, or gone to no shop; dials %d, stays %d", s.name, i, o.End, o.Err, o.Dials, len(o.Stays))
			}
		}
	}
	if t.Failed() {
		story.tell()
		return
	}
	settle(t, b, sales)
	kept := b.ledgers(func(name room.Name) bool {
		return slices.ContainsFunc(of(sales, victim, true), func(s *sale) bool { return s.name == name })
	})
	goesOn(t, sales, victim, kept, killed, again, limit)
	for _, s := range sales {
		t.Run(string(s.name), func(t *testing.T) { balanceOne(t, b, s, kept[s.name], s.master == victim) })
	}
	tell("the books of %d rooms balance", len(sales))
	stop(t, f)
}

// spread names rooms so that each master has a third of them.
func spread(t *testing.T, c *testenv.RedisCluster, base string) (sales []*sale) {
	t.Helper()
	held := map[*testenv.RedisServer]int{}
	for i := 0; len(sales) < clusterRooms; i++ {
		s := &sale{name: room.Name(fmt.Sprintf("%s-%d", base, i))}
		s.master = c.MasterOf("wr1:{" + string(s.name) + "}:conf")
		if held[s.master] < (clusterRooms+masters-1)/masters {
			held[s.master]++
			sales = append(sales, s)
		}
	}
	if len(held) != masters {
		t.Fatalf("%d masters have rooms, want %d", len(held), masters)
	}
	return sales
}

// of are the sales that a master had, or those that it had not.
func of(sales []*sale, master *testenv.RedisServer, had bool) (list []*sale) {
	for _, s := range sales {
		if (s.master == master) == had {
			list = append(list, s)
		}
	}
	return list
}

// admitAll waits until each of these rooms has admitted more than it had, and notes
// how many that are. A master that is away is asked again.
func admitAll(t *testing.T, lines *line.Lines, sales []*sale, limit time.Duration) {
	t.Helper()
	left := sales
	await(t, limit, fmt.Sprintf("%d rooms admit", len(sales)), func() (bool, string) {
		var err error
		left = slices.DeleteFunc(slices.Clone(left), func(s *sale) bool {
			got, failed := lines.Status(t.Context(), s.name)
			if failed != nil || got.Stats.Admitted <= s.admitted {
				err = errors.Join(err, failed)
				return false
			}
			s.admitted = got.Stats.Admitted
			return true
		})
		return len(left) == 0, fmt.Sprintf("%d without one, %v", len(left), err)
	})
}

func status(t *testing.T, lines *line.Lines, s *sale) room.Status {
	t.Helper()
	got, err := lines.Status(t.Context(), s.name)
	if err != nil {
		t.Fatalf("status of %s: %v", s.name, err)
	}
	return got
}

// settle waits until what is on its way has arrived.
func settle(t *testing.T, b *books, sales []*sale) {
	t.Helper()
	// An admission that the killed admitter had read comes again after 30 s.
	await(t, time.Minute, "the lines' outboxes are empty, and the slots of all who booked are free", func() (bool, string) {
		for _, s := range sales {
			at := *b
			at.room = s.name
			l := at.line()
			if l.outbox > 0 {
				return false, fmt.Sprintf("%d in the outbox of %s", l.outbox, s.name)
			}
			for _, o := range s.outcomes {
				if _, inside := l.active[string(o.Place().Visitor)]; inside && o.End == bot.Booked {
					return false, fmt.Sprintf("visitor %s in %s", o.Place().Visitor, s.name)
				}
			}
		}
		return true, ""
	})
	await(t, 30*time.Second, "the booker's outbox is empty", func() (bool, string) {
		n := b.count("SELECT COUNT(*) FROM facts")
		return n == 0, fmt.Sprint(n)
	})
	bots := 0
	for _, s := range sales {
		bots += len(s.outcomes)
	}
	await(t, 40*time.Second, "every admission is in SQL", func() (bool, string) {
		n := b.count("SELECT COUNT(*) FROM admissions WHERE id LIKE ?", longest(sales)+"%")
		return n >= bots, fmt.Sprintf("%d of %d", n, bots)
	})
}

// longest is how all names begin: a booker also records other rooms on the same Kafka.
func longest(sales []*sale) string {
	name := string(sales[0].name)
	return name[:strings.LastIndex(name, "-")+1]
}

// goesOn measures by what Kafka holds, in the lines' own time, how long admission
// stood still: in the rooms of the killed master from the kill on, in the others
// between any two admissions from the kill until all go on again.
func goesOn(t *testing.T, sales []*sale, victim *testenv.RedisServer, kept map[room.Name]*ledger, killed, again time.Time, limit time.Duration) {
	t.Helper()
	var back, still []time.Duration
	for _, s := range sales {
		var had, next time.Time // the last admission before a moment, and the first after it
		longest := time.Duration(0)
		for _, a := range kept[s.name].admitted {
			at := time.UnixMicro(a.AdmittedAtUS)
			if at.After(killed) && next.IsZero() {
				next = at
			}
			if at.After(killed) && had.Before(again) && !had.IsZero() {
				longest = max(longest, at.Sub(had))
			}
			had = at
		}
		if s.master == victim {
			back = append(back, next.Sub(killed))
			if next.IsZero() || next.Sub(killed) > limit {
				t.Errorf("%s: admission goes on %v after the kill of its master, want %v at most", s.name, next.Sub(killed), limit)
			}
			continue
		}
		still = append(still, longest)
		if longest == 0 || longest > restless {
			t.Errorf("%s, on another master: %v without an admission, want %v at most", s.name, longest, restless)
		}
	}
	slices.Sort(back)
	slices.Sort(still)
	t.Logf("rooms of the killed master go on after %.2f to %.2f s; rooms of the others were without an admission for %.2f to %.2f s",
		back[0].Seconds(), back[len(back)-1].Seconds(), still[0].Seconds(), still[len(still)-1].Seconds())
}

// balanceOne compares the books of one room. A line that went to a replica may lack
// its last moment: its counters may differ then, its numbers may not.
func balanceOne(t *testing.T, all *books, s *sale, kept *ledger, promoted bool) {
	b := *all
	b.t, b.room = t, s.name
	want := 0
	for _, o := range s.outcomes {
		want += len(o.Seats)
	}
	b.seats(s.outcomes, want)
	b.facts(kept, want)
	l := b.line()
	if len(l.waiting) > 0 {
		t.Errorf("%d wait, want nobody", len(l.waiting))
	}
	if promoted {
		let, _ := b.holders(l, kept.admitted)
		b.stays(l, let, s.outcomes)
	} else {
		b.numbers(l, kept.admitted, s.outcomes)
	}
	rates := b.rates(clusterSlow)
	if !promoted && len(rates) != 3 {
		t.Errorf("rates: got %v, want slow, steady, hurry", rates)
	}
	pace(t, kept.admitted, rates, clusterBurst)
	b.order(l, kept.admitted)
}
