package line

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// TestLosses walks a line that loses its last writes now and then, with processes that
// die with it or live on, each with a mark of its own, and with visitors who keep what
// they were told, while operators change the room and the clock is set. What counts is
// what visitors were told: no number twice, nobody lost, nobody overtaken, nobody admitted
// under two ids; and that no act is lost that a living process had read.
func TestLosses(t *testing.T) {
	t.Run("redis", func(t *testing.T) { walkLosses(t, testenv.Redis(t), "40", asTheyAre) })
	t.Run("miniredis", func(t *testing.T) { walkLosses(t, mini(t), "10", asTheyAre) })
}

func walkLosses(t *testing.T, rdb redis.UniversalClient, checks string, with casting) {
	rapidly(t, checks, "60")
	loss := &lossy{}
	rdb.AddHook(loss)
	name := roomName(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := newLosing(rt, rdb, loss, name)
		defer w.end()
		rt.Repeat(with(map[string]func(*rapid.T){
			"":         w.check,
			"join":     w.join,
			"join two": w.join,
			"admit":    w.admit,
			"rounds":   w.admit,
			"claim":    w.claim,
			"leave":    w.leave,
			"finish":   w.finish,
			"save":     w.save,
			"lose":     w.lose,
			"restart":  w.restart,
			"flush":    w.flush,
			"pass":     w.pass,
			"slow":     w.slow,
			"promote":  w.promote,
			"back":     w.back,
			"act":      w.act,
			"clock":    w.step,
			"leap":     w.leap,
			"begin":    w.begin,
		}))
		w.settle(rt)
	})
}

// losing is what the processes and visitors of one line know, beside the line.
type losing struct {
	rdb   redis.UniversalClient
	loss  *lossy
	lines *Lines
	clock *hand
	name  room.Name
	conf  room.Conf

	procs    []*proc
	started  int // processes ever
	visitors map[room.VisitorID]*told
	numbers  map[room.Number]room.VisitorID // told to whom
	saved    bool
	passed   bool                    // the whole line was lost since it was saved
	forked   int64                   // up to this rev there may be two acts of one rev, see lose
	acts     int                     // ever made
	strays   map[room.VisitorID]bool // joined in a batch whose answer nobody heard
	unmet    time.Duration           // since each process brought its visitors back if it had to
}

// proc is one process: what it heard from the line and who is connected to it.
type proc struct {
	name  string
	mark  room.Number
	life  string
	saved room.Saved
	rev   int64 // of its conf
	lane  room.Lane
	alive bool
}

// told is one visitor and what it knows of itself.
type told struct {
	place    room.Place
	at       *proc // connected to; nil: its process died
	admitted bool  // ever, as an admit call answered or a look found
	claimed  bool
	over     bool // left, finished
	absent   time.Duration
}

func newLosing(t *rapid.T, rdb redis.UniversalClient, loss *lossy, name room.Name) *losing {
	w := &losing{rdb: rdb, loss: loss, clock: newHand(), name: name, visitors: map[room.VisitorID]*told{},
		numbers: map[room.Number]room.VisitorID{}, strays: map[room.VisitorID]bool{}}
	w.lines = New(rdb, WithClock(w.clock.now))
	w.conf = openConf()
	w.conf.Rate = room.Rate(rapid.SampledFrom([]int64{2_000, 50_000}).Draw(t, "rate"))
	w.conf.Burst = max(w.conf.Rate.MinBurst(), 10)
	w.conf.MaxActive = rapid.SampledFrom([]int64{5, 1000}).Draw(t, "cap")
	w.conf.Claim, w.conf.Pass = time.Hour, 24*time.Hour
	if err := w.lines.Create(background(), name, w.conf, "losses"); err != nil {
		t.Fatalf("create: %v", err)
	}
	for range 3 {
		w.tick(t, w.start())
	}
	return w
}

func (w *losing) end() {
	_ = w.lines.Delete(background(), w.name, true, "losses")
	for _, k := range keysOf(w.name) {
		w.rdb.Del(background(), w.copyOf(k))
	}
}

func (w *losing) start() *proc {
	w.started++
	p := &proc{name: fmt.Sprintf("p%d", w.started), alive: true}
	p.lane = room.Lane{Name: p.name + "-1"}
	w.procs = append(w.procs, p)
	return p
}

func (w *losing) proc(t *rapid.T) *proc {
	return rapid.SampledFrom(w.procs).Draw(t, "process")
}

func (w *losing) by(p *proc) room.Caller {
	return room.Caller{Epoch: w.conf.Epoch, Mark: p.mark, Process: p.name}
}

// anyone is some visitor who was told a place and is not over.
func (w *losing) anyone(t *rapid.T, which func(*told) bool) *told {
	var ids []room.Number
	for n, id := range w.numbers {
		if v := w.visitors[id]; !v.over && which(v) {
			ids = append(ids, n)
		}
	}
	if len(ids) == 0 {
		t.Skip("nobody")
	}
	slices.Sort(ids)
	return w.visitors[w.numbers[rapid.SampledFrom(ids).Draw(t, "number")]]
}

func (w *losing) join(t *rapid.T) { w.joinBy(t, w.proc(t)) }

func (w *losing) joinBy(t *rapid.T, p *proc) {
	if p.life == "" { // a node reads a line before it joins anybody
		snap, err := w.lines.Snapshot(background(), w.name, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.mark, p.life, p.saved, p.rev = snap.Seq, snap.Life.ID, snap.Saved, snap.Conf.Rev
	}
	ids := visitors(rapid.IntRange(1, 30).Draw(t, "visitors"))
	p.lane.Batch++
	lost := rapid.IntRange(0, 9).Draw(t, "fate") == 0
	w.loss.next.Store(lost)
	joined, err := w.lines.Join(background(), w.name, w.by(p), p.lane, ids)
	w.loss.next.Store(false)
	switch {
	case lost && errors.Is(err, room.ErrAway):
		// The process gives up, or dies; nobody was told.
		for _, id := range ids {
			w.strays[id] = true
		}
		if rapid.Bool().Draw(t, "gives back") {
			if _, err := w.lines.GiveBack(background(), w.name, w.by(p), p.lane, false); err != nil {
				t.Fatalf("give back: %v", err)
			}
			if _, err := w.lines.Join(background(), w.name, w.by(p), p.lane, ids); !errors.Is(err, room.ErrStaleBatch) {
				t.Fatalf("a batch given back, again: got %v, want %v", err, room.ErrStaleBatch)
			}
		}
		return
	case errors.Is(err, room.ErrRecovering):
		return
	case err != nil:
		t.Fatalf("join: %v", err)
	}
	p.mark = max(p.mark, joined.Mark())
	for i := range joined.Granted {
		n := joined.Number(i)
		if other, twice := w.numbers[n]; twice {
			t.Fatalf("number %d was told to %s and to %s", n, other, ids[i])
		}
		w.numbers[n] = ids[i]
		w.visitors[ids[i]] = &told{place: room.Place{Visitor: ids[i], Number: n}, at: p}
	}
}

// entitled are those below number n who must not be overtaken: connected all the time,
// or back, and neither admitted ever nor over.
func (w *losing) entitled(n room.Number) (before []room.Place) {
	for _, v := range w.visitors {
		if v.place.Number < n && v.at != nil && !v.admitted && !v.over && v.absent == 0 {
			before = append(before, v.place)
		}
	}
	return before
}

func (w *losing) admit(t *rapid.T) {
	p := w.proc(t)
	inside := w.inside(t)
	round, err := w.lines.Admit(background(), w.name, w.by(p), rapid.SampledFrom([]int{1, 10, room.MaxRound}).Draw(t, "limit"))
	if err != nil {
		t.Fatalf("admit: %v", err)
	}
	p.mark = max(p.mark, round.Seq)
	now := w.inside(t)
	for id := range now {
		if _, was := inside[id]; was {
			continue
		}
		v := w.visitors[id]
		if v == nil {
			if !w.strays[id] {
				t.Fatalf("admitted %s, whom nobody knows", id)
			}
			continue
		}
		if v.over {
			t.Fatalf("admitted %+v, who left or was done", v)
		}
		for _, other := range w.entitled(v.place.Number) {
			if w.visitors[other.Visitor] != v {
				if _, in := now[other.Visitor]; !in {
					t.Fatalf("admitted %v before %v", v.place, other)
				}
			}
		}
		v.admitted = true
	}
}

// inside is who has a slot.
func (w *losing) inside(t *rapid.T) map[room.VisitorID]bool {
	all := map[room.VisitorID]bool{}
	for _, key := range []string{unclaimedKey(w.name), activeKey(w.name)} {
		members, err := w.rdb.ZRange(background(), key, 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			all[room.VisitorID(m)] = true
		}
	}
	return all
}

func (w *losing) claim(t *rapid.T) {
	v := w.anyone(t, func(v *told) bool { return v.at != nil && v.admitted })
	stand, err := w.lines.Claim(background(), w.name, w.by(v.at), v.place)
	switch {
	case errors.Is(err, room.ErrRecovering): // its tick brings it back first
	case err != nil:
		t.Fatalf("claim of %+v: %v", v, err)
	case stand.Standing == room.Active:
		v.claimed = true
	}
}

func (w *losing) leave(t *rapid.T) {
	v := w.anyone(t, func(v *told) bool { return v.at != nil && !v.claimed })
	err := w.lines.Leave(background(), w.name, w.by(v.at), v.place)
	if err != nil {
		t.Fatalf("leave of %+v: %v", v, err)
	}
	v.over = true
}

// finish comes from the shop, which never forgets; whoever claimed may be finished.
func (w *losing) finish(t *rapid.T) {
	v := w.anyone(t, func(v *told) bool { return v.claimed })
	if _, err := w.lines.Finish(background(), w.name, w.by(w.proc(t)), v.place); err != nil {
		t.Fatalf("finish of %+v: %v", v, err)
	}
	v.over = true
}

func (w *losing) copyOf(key string) string { return key + ":copy" }

// save remembers the line as it is.
func (w *losing) save(t *rapid.T) {
	ctx := background()
	for _, k := range keysOf(w.name) {
		w.rdb.Del(ctx, w.copyOf(k))
		if err := w.rdb.Copy(ctx, k, w.copyOf(k), 0, true).Err(); err != nil {
			t.Fatalf("copy %s: %v", k, err)
		}
	}
	w.saved, w.passed = true, false
}

// lose brings an older line back, as a power cut or a promotion does: under another
// replication id. Some processes die in the same moment; one at least lives.
func (w *losing) lose(t *rapid.T) {
	if !w.saved {
		t.Skip("nothing saved")
	}
	ctx := background()
	for _, k := range keysOf(w.name) {
		w.rdb.Del(ctx, k)
		if err := w.rdb.Copy(ctx, w.copyOf(k), k, 0, true).Err(); err != nil {
			t.Fatalf("copy %s: %v", k, err)
		}
	}
	w.restarted(t)
	if w.passed {
		// An act that nobody had read was lost with the whole line, another one took its
		// rev, and now the first one is back. Which of them stays is nobody's promise: a
		// line from before its total loss is two losses at once.
		for _, p := range w.procs {
			w.forked = max(w.forked, p.rev)
		}
	}
	w.again(t)
	// Of a process that dies with its first join, both within what was lost, nobody knows.
	var known []*proc
	for _, p := range w.procs {
		if has, err := w.rdb.HExists(ctx, lifeKey(w.name), "at:"+p.name).Result(); err != nil {
			t.Fatal(err)
		} else if has {
			known = append(known, p)
		}
	}
	if len(known) > 0 && rapid.Bool().Draw(t, "deaths") {
		w.die(t, known)
	}
}

// again: what of leaving and finishing was lost comes again. The shop's facts are read
// once more, and who left is gone for good as a person.
func (w *losing) again(t *rapid.T) {
	ctx := background()
	for _, v := range w.visitors {
		if v.over && v.claimed {
			if _, err := w.lines.Finish(ctx, w.name, w.by(w.procs[0]), v.place); err != nil {
				t.Fatalf("finish again: %v", err)
			}
		}
		if v.over && !v.claimed {
			if err := w.lines.Leave(ctx, w.name, w.by(w.procs[0]), v.place); err != nil && !errors.Is(err, room.ErrSpent) {
				t.Fatalf("leave again: %v", err)
			}
		}
	}
}

// restart is a restart that loses nothing.
func (w *losing) restart(t *rapid.T) { w.restarted(t) }

func (w *losing) restarted(t *rapid.T) {
	w.clock.pass(time.Millisecond)
	if err := w.rdb.HSet(background(), lifeKey(w.name), "replid", "before").Err(); err != nil {
		t.Fatal(err)
	}
}

func (w *losing) die(t *rapid.T, some []*proc) {
	// Nobody makes up for a jump that only the dead one had read: it would be made again,
	// to the same number.
	some = slices.DeleteFunc(slices.Clone(some), func(p *proc) bool {
		for _, other := range w.procs {
			if other != p && other.mark+65536 > p.mark {
				return false
			}
		}
		return true
	})
	if len(some) == 0 {
		return
	}
	dead := rapid.SampledFrom(some).Draw(t, "dead")
	dead.alive = false
	w.procs = slices.DeleteFunc(w.procs, func(p *proc) bool { return p == dead })
	for _, v := range w.visitors {
		if v.at == dead {
			v.at, v.absent = nil, 1
		}
	}
	w.start()
}

// pass lets time go by in steps of a second, after each of which every process looks
// at the line, as nodes do.
func (w *losing) pass(t *rapid.T) {
	for d := rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Second, 4 * time.Second, 15 * time.Second}).Draw(t, "time"); d > 0; d -= time.Second {
		w.clock.pass(min(d, time.Second))
		for _, p := range w.procs {
			w.tick(t, p)
		}
	}
	w.unmet = 0
}

// slow lets two seconds go by in which each process reads the line, and one at most
// brings its visitors back: the others are at it still. After a loss they have ten
// seconds in which nobody may overtake those.
func (w *losing) slow(t *rapid.T) {
	if w.unmet > 6*time.Second {
		t.Skip("longer than a line waits for them")
	}
	soon := w.proc(t)
	w.reads(t)
	w.reads(t)
	w.tick(t, soon)
	w.joinBy(t, soon)
	w.reads(t) // so much credit
	w.admit(t)
}

// reads lets a second go by, after which every process reads the line and does no more.
func (w *losing) reads(t *rapid.T) {
	w.clock.pass(time.Second)
	w.unmet += time.Second
	for _, p := range w.procs {
		w.read(t, p)
	}
}

// promote is a replica that lacks the last joins, of several processes, and takes over.
func (w *losing) promote(t *rapid.T) {
	if w.unmet > 0 {
		t.Skip("some process is at the loss of before")
	}
	w.save(t)
	w.join(t)
	w.join(t)
	w.lose(t)
	w.slow(t)
	if rapid.Bool().Draw(t, "again") { // and its Redis is restarted at once
		w.restart(t)
		w.slow(t)
	}
}

// act is an operator's. Right after a loss it is refused: the lost ones come first.
func (w *losing) act(t *rapid.T) {
	w.acts++
	notice := fmt.Sprint("act ", w.acts)
	if _, err := w.lines.Set(background(), w.name, room.Change{Actor: "losses", Notice: &notice}); err != nil && !errors.Is(err, room.ErrRecovering) {
		t.Fatalf("act: %v", err)
	}
}

// begin is another process, of which the line knows nothing before its first join.
func (w *losing) begin(t *rapid.T) {
	if len(w.procs) > 4 {
		t.Skip("as many as it takes")
	}
	w.joinBy(t, w.start())
}

// step sets the clock back.
func (w *losing) step(t *rapid.T) {
	w.clock.pass(-rapid.SampledFrom([]time.Duration{50 * time.Millisecond, 2 * time.Second, time.Hour}).Draw(t, "back"))
}

// leap sets the clock ahead, by more than somebody counts as alive who does not speak,
// and not while visitors are awaited, whose time it would end.
func (w *losing) leap(t *rapid.T) {
	if w.unmet > 0 {
		t.Skip("some process is at the loss of before")
	}
	for _, p := range w.procs {
		w.tick(t, p)
	}
	w.clock.pass(40 * time.Second)
}

// tick is what a process does once a second: it reads, and in another life of the line
// than before it brings its visitors back.
func (w *losing) tick(t *rapid.T, p *proc) {
	life := w.read(t, p)
	if p.life != "" && p.life != life {
		var mine []*told
		for _, v := range w.visitors {
			if v.at == p && !v.over {
				mine = append(mine, v)
			}
		}
		w.rejoin(t, p, mine)
	}
	p.life = life
}

// read tells a process's mark, brings back what an operator did and the line lost, and
// returns the life of the line.
func (w *losing) read(t *rapid.T, p *proc) (life string) {
	ctx := background()
	last, _, err := w.lines.Report(ctx, w.name, w.by(p))
	if errors.Is(err, room.ErrUnknown) && p.life != "" {
		// The whole line is lost, and nobody deleted it.
		if err := w.lines.Recreate(ctx, w.name, w.by(p), p.saved); err != nil {
			t.Fatalf("recreate: %v", err)
		}
		last, _, err = w.lines.Report(ctx, w.name, w.by(p))
	}
	if err != nil {
		t.Fatalf("report: %v", err)
	}
	p.mark = max(p.mark, last)
	snap, err := w.lines.Snapshot(ctx, w.name, 0)
	if err == nil && p.rev > snap.Conf.Rev {
		if err := w.lines.Recreate(ctx, w.name, w.by(p), p.saved); err != nil {
			t.Fatalf("recreate of a lost act: %v", err)
		}
		snap, err = w.lines.Snapshot(ctx, w.name, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if notice := p.saved.Conf["notice"]; snap.Conf.Rev < p.rev || snap.Conf.Rev == p.rev && snap.Conf.Notice != notice && p.rev > w.forked {
		t.Fatalf("%s knows the notice %q of rev %d, the line says %q at rev %d", p.name, notice, p.rev, snap.Conf.Notice, snap.Conf.Rev)
	}
	p.saved, p.rev = snap.Saved, snap.Conf.Rev
	return snap.Life.ID
}

// flush loses the whole line, and the list of rooms with it.
func (w *losing) flush(t *rapid.T) {
	for _, p := range w.procs {
		if p.life == "" {
			w.tick(t, p) // else it might be that nobody knows the line
		}
	}
	w.clock.pass(time.Millisecond)
	w.passed = w.saved
	ctx := background()
	w.rdb.Del(ctx, keysOf(w.name)...)
	w.rdb.SRem(ctx, roomsKey(), string(w.name))
	if rapid.Bool().Draw(t, "deaths") {
		w.die(t, w.procs)
	}
	order := rapid.Permutation(w.procs).Draw(t, "order")
	for _, p := range order {
		if p.life != "" {
			w.tick(t, p)
			w.clock.pass(200 * time.Millisecond)
		}
	}
	w.again(t)
}

// back lets somebody whose process died come back through another one.
func (w *losing) back(t *rapid.T) {
	v := w.anyone(t, func(v *told) bool { return v.at == nil })
	v.at = w.proc(t)
	w.rejoin(t, v.at, []*told{v})
}

func (w *losing) rejoin(t *rapid.T, p *proc, all []*told) {
	if len(all) == 0 {
		return
	}
	places := make([]room.Place, len(all))
	for i, v := range all {
		places[i] = v.place
	}
	stands, err := w.lines.Rejoin(background(), w.name, w.by(p), places)
	if err != nil {
		t.Fatalf("rejoin: %v", err)
	}
	for i, stand := range stands {
		v := all[i]
		switch stand.Standing {
		case room.Gone, room.Unseen:
			t.Fatalf("rejoin of %+v: got %+v: lost", v, stand)
		case room.Unclaimed:
			if stand.Left < time.Minute {
				t.Fatalf("rejoin of %+v: %v left to claim", v, stand.Left)
			}
		}
	}
}

// check holds the invariant of the bitmaps.
func (w *losing) check(t *rapid.T) {
	ctx := background()
	seq, _ := w.rdb.Get(ctx, seqKey(w.name)).Int64()
	gone, _ := w.rdb.Get(ctx, goneKey(w.name)).Bytes()
	back, _ := w.rdb.Get(ctx, backKey(w.name)).Bytes()
	queue, err := w.rdb.ZRangeWithScores(ctx, queueKey(w.name), 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	// Whole bytes: a fence takes 65,536 numbers, and bit by bit they were most of this test.
	want := bytes.Repeat([]byte{0xff}, int(seq>>3)+1)
	want[0] &= 0x7f
	want[seq>>3] &= 0xff << (7 - seq&7)
	for _, z := range queue {
		n := int64(z.Score)
		if n < 1 || n > seq || want[n>>3]&(0x80>>(n&7)) == 0 {
			t.Fatalf("number %d of %d: it can't be given, or two have it", n, seq)
		}
		want[n>>3] &^= 0x80 >> (n & 7)
	}
	size := max(len(want), len(gone), len(back))
	for _, bitmap := range []*[]byte{&want, &gone, &back} {
		*bitmap = append(*bitmap, make([]byte, size-len(*bitmap))...)
	}
	if !bytes.Equal(gone, want) {
		for n := range int64(size) * 8 {
			if bit := byte(0x80 >> (n & 7)); gone[n>>3]&bit != want[n>>3]&bit {
				t.Fatalf("number %d of %d: gone %v, want %v", n, seq, gone[n>>3]&bit != 0, want[n>>3]&bit != 0)
			}
		}
	}
	if all := new(big.Int).SetBytes(back); all.AndNot(all, new(big.Int).SetBytes(gone)).Sign() != 0 {
		t.Fatalf("number %d may come back and is not gone", size*8-all.BitLen())
	}
}

// settle lets everybody come back and a minute pass: then each visitor stands
// somewhere, and joins are possible again.
func (w *losing) settle(t *rapid.T) {
	for _, v := range w.visitors {
		if v.at == nil && !v.over {
			v.at = w.procs[0]
			w.rejoin(t, v.at, []*told{v})
		}
	}
	for range 40 { // more than the longest hold without anybody who comes back
		w.clock.pass(time.Second)
		for _, p := range w.procs {
			w.tick(t, p)
		}
	}
	for _, v := range w.visitors {
		if !v.over {
			w.rejoin(t, v.at, []*told{v})
		}
	}
	p := w.procs[0]
	p.lane.Batch++
	joined, err := w.lines.Join(background(), w.name, w.by(p), p.lane, visitors(1))
	if err != nil || joined.Granted != 1 {
		t.Fatalf("join in the end: got %+v, %v", joined, err)
	}
	w.check(t)
}
