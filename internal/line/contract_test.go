package line

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/line/linetest"
	"waitroom/internal/room"
)

// The line keeps its contract on every kind of server; the fakes of hub and admission
// are held to the same stories there.
func TestContract(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Run("node", func(t *testing.T) {
			linetest.Nodes(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.NodeStage)) {
				s := newStage(t, rdb, conf)
				play(t, &linetest.NodeStage{Hands: s.hands(), Line: s.lines, Reap: s.reap})
			})
		})
		t.Run("admitter", func(t *testing.T) {
			linetest.Admitters(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.AdmitterStage)) {
				s := newStage(t, rdb, conf)
				stage := &linetest.AdmitterStage{Hands: s.hands(), Line: s.lines, Unsure: func() {}, Absent: s.absent, Seen: s.seen, Sign: s.sign}
				stage.Abandon = func() {
					s.abandon()
					// Another admitter, which searches at once.
					stage.Line = New(rdb, WithClock(s.clock.now))
				}
				play(t, stage)
			})
		})
		t.Run("rooms", func(t *testing.T) {
			linetest.Registry(t, func(t *testing.T, conf room.Conf, play func(*testing.T, *linetest.RoomsStage)) {
				s := newStage(t, rdb, conf)
				play(t, &linetest.RoomsStage{Hands: s.hands(), Line: s.lines})
			})
		})
	})
}

// stage is a line on a server, with the hands of all others.
type stage struct {
	t     *testing.T
	rdb   redis.UniversalClient
	lines *Lines
	clock *hand
	name  room.Name
	conf  room.Conf
	batch int64
	mark  room.Number // of the node that joins others
}

func newStage(t *testing.T, rdb redis.UniversalClient, conf room.Conf) *stage {
	s := &stage{t: t, rdb: rdb, clock: newHand(), conf: conf}
	s.conf.Epoch = room.NewEpoch()
	s.lines = New(rdb, WithClock(s.clock.now))
	s.name = create(t, s.lines, s.conf)
	s.clock.pass(time.Second) // the bucket is full
	return s
}

func (s *stage) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// by is another process than those of the stories.
func (s *stage) by() room.Caller {
	return room.Caller{Epoch: s.conf.Epoch, Mark: s.mark}
}

func (s *stage) hands() linetest.Hands {
	ctx := background()
	return linetest.Hands{Name: s.name, Conf: s.conf, Pass: s.clock.pass, Now: s.clock.at,
		Set: func(ch room.Change) {
			_, err := s.lines.Set(ctx, s.name, ch)
			s.must("set", err)
		},
		SoldOut: func() { s.must("sold out", s.lines.soldOut(ctx, s.name, s.conf.Epoch, 0)) },
		Delete:  func() { s.must("delete", s.lines.Delete(ctx, s.name, true, "ann")) },
		Lose: func() {
			s.rdb.Del(ctx, presenceKeysOf(s.name)...)
			s.must("unlist", s.rdb.SRem(ctx, roomsKey(), string(s.name)).Err())
		},
		Unlist: func() { s.must("unlist", s.rdb.SRem(ctx, roomsKey(), string(s.name)).Err()) },
		Join:   s.join,
		Admit: func(n int) {
			round, err := s.lines.Admit(ctx, s.name, s.by(), n)
			if err != nil || round.Admitted != n {
				s.t.Fatalf("admit of %d: got %+v, %v", n, round, err)
			}
		},
		Claim: func(p room.Place) {
			stand, err := s.lines.Claim(ctx, s.name, s.by(), p)
			if err != nil || stand.Standing != room.Active {
				s.t.Fatalf("claim of %v: got %+v, %v", p, stand, err)
			}
		},
		Leave: func(p room.Place) { s.must("leave", s.lines.Leave(ctx, s.name, s.by(), p)) },
		Finish: func(p room.Place) {
			freed, err := s.lines.Finish(ctx, s.name, s.by(), p)
			if err != nil || !freed {
				s.t.Fatalf("finish of %v: got %v, %v", p, freed, err)
			}
		},
		Rejoin: func(p room.Place) room.Standing {
			stands, err := s.lines.Rejoin(ctx, s.name, s.by(), []room.Place{p})
			s.must("rejoin", err)
			return stands[0].Standing
		},
	}
}

func (s *stage) join(n int) (all []room.Place) {
	by := s.by()
	by.Process = "other-node"
	for _, part := range slices.Collect(slices.Chunk(visitors(n), room.MaxBatch)) {
		s.batch++
		joined, err := s.lines.Join(background(), s.name, by, room.Lane{Name: "other-0", Batch: s.batch}, part)
		if err != nil || joined.Granted != len(part) {
			s.t.Fatalf("join of %d: got %+v, %v", len(part), joined, err)
		}
		for i, v := range part {
			all = append(all, room.Place{Visitor: v, Number: joined.Number(i)})
		}
		s.mark = joined.Mark()
	}
	return all
}

// absent lets a grace go by in which nodes see everybody who waits but those.
func (s *stage) absent(numbers ...room.Number) {
	for range 2 * rings {
		s.clock.pass(s.conf.Grace / (rings - 1))
		queue, err := s.rdb.ZRangeWithScores(background(), queueKey(s.name), 0, -1).Result()
		s.must("who waits", err)
		var there []room.Place
		for _, z := range queue {
			if n := room.Number(z.Score); !slices.Contains(numbers, n) {
				there = append(there, room.Place{Number: n})
			}
		}
		from, bits := window(there)
		_, _, err = s.lines.Present(background(), s.name, s.by(), from, bits)
		s.must("present", err)
	}
}

func (s *stage) seen(p room.Place) {
	from, bits := window([]room.Place{p})
	_, _, err := s.lines.Present(background(), s.name, s.by(), from, bits)
	s.must("present", err)
}

func (s *stage) reap(p room.Place) {
	s.absent(p.Number)
	if n, err := s.lines.Reap(background(), s.name, s.by(), []room.Number{p.Number}); err != nil || n != 1 {
		s.t.Fatalf("reap of %v: got %d, %v", p, n, err)
	}
}

// abandon makes every entry that somebody holds one that was handed out long ago.
func (s *stage) abandon() {
	pending, err := s.rdb.XPendingExt(background(), &redis.XPendingExtArgs{Stream: outboxKey(s.name), Group: group, Start: "-", End: "+", Count: 1_000}).Result()
	s.must("who holds what", err)
	for _, p := range pending {
		// The client has no word for XCLAIM IDLE.
		err := s.rdb.Do(background(), "XCLAIM", outboxKey(s.name), group, consumer, 0, p.ID, "IDLE", (2 * abandoned).Milliseconds(), "JUSTID").Err()
		s.must("let it lie", err)
	}
}

func (s *stage) sign(sign room.Sign) {
	s.must("sign", s.lines.Sign(background(), sign))
	s.t.Cleanup(func() {
		// The signs of the server are everybody's.
		if err := errors.Join(s.rdb.HDel(background(), signsKey(), sign.ID, "at:"+sign.ID).Err()); err != nil {
			s.t.Error(err)
		}
	})
}
