package signs

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	sale  room.Name  = "sale"
	epoch room.Epoch = "aaaaaaaa"
)

// status is an open room with ten waiting, 100 of 500 slots taken.
func status(change func(*room.Status)) room.Status {
	s := room.Status{Name: sale, Now: noon, Waiting: 10, Unclaimed: 40, Active: 60,
		Conf: room.Conf{Epoch: epoch, State: room.Open, Rate: 50_000, MaxActive: 500, Claim: 2 * time.Minute, Pass: 10 * time.Minute}}
	if change != nil {
		change(&s)
	}
	return s
}

// admitter is one that signed ago, and says that of the room.
func admitter(id string, ago time.Duration, rooms ...room.RoomSign) room.Sign {
	return room.Sign{ID: id, Role: room.RoleAdmitter, Host: "h" + id, At: noon.Add(-ago), UpMS: 60_000, Rooms: rooms}
}

func rounds(cause room.Stop, forMS, roundMS int64) room.RoomSign {
	return room.RoomSign{Room: sale, Epoch: epoch, Cause: cause, CauseMS: forMS, RoundMS: roundMS}
}

func fleet(signs ...room.Sign) Fleet { return Fleet{Now: noon, Signs: signs} }

// Each cause with its whole sentence.
func TestExplain(t *testing.T) {
	acts := []room.Act{ // the newest first
		{At: noon.Add(-30 * time.Second), Actor: "eve", What: "set rate"},
		{At: noon.Add(-3 * time.Minute), Actor: "ann@desk", State: room.Paused},
		{At: noon.Add(-10 * time.Minute), Actor: "shop", SoldOut: true},
		{At: noon.Add(-time.Hour), Actor: "bob", State: room.Closed},
		{At: noon.Add(-48 * time.Hour), Actor: "carl", Created: true},
	}
	well := fleet(admitter("a", time.Second, rounds(room.StopRate, 5000, 10)))
	stopped := admitter("b", 70*time.Second, rounds(room.StopRate, 5000, 10))
	stopped.Stopped = true
	failing := rounds(room.StopError, 8000, 100)
	failing.Error = "boom"
	lost := rounds(room.StopAway, 8000, 9000)
	lost.Error = "refused"
	gone, older := rounds(room.StopRecovering, 8000, 100), rounds(room.StopRecovering, 8000, 40_000)
	gone.Error, older.Error = "recovering", "recovering"
	changed := rounds(room.StopPaused, 8000, 50)
	changed.Last = room.StopRate
	turning := rounds(room.StopCap, 3_000, 20)
	other := rounds(room.StopCap, 99_000, 10)
	other.Epoch = "bbbbbbbb"
	for _, c := range []struct {
		name   string
		status room.Status
		oldest time.Time
		fleet  Fleet
		cause  room.Stop
		want   string
	}{
		{"paused", status(func(s *room.Status) { s.Conf.State = room.Paused }), time.Time{}, well, room.StopPaused,
			"stands still: paused by ann@desk, since 2026-11-21T11:57:00Z (3m ago); `admitter resume sale` lets visitors in again"},
		{"closed, and paused before", status(func(s *room.Status) { s.Conf.State = room.Closed; s.Conf.SoldOut = true }), time.Time{}, well, room.StopClosed,
			"stands still: closed by bob, since 2026-11-21T11:00:00Z (1h ago); `admitter room open sale` opens it again"},
		{"sold out", status(func(s *room.Status) { s.Conf.SoldOut = true; s.Conf.State = room.Paused }), time.Time{}, well, room.StopSoldOut,
			"stands still: sold out: every seat is booked, since 2026-11-21T11:50:00Z (10m ago); add seats with `booker seats`, then `admitter room reopen sale`"},
		{"opening by hand", status(func(s *room.Status) { s.Conf.State = room.Opening }), time.Time{}, well, room.StopOpening,
			"stands still: not open yet, set by carl, since 2026-11-19T12:00:00Z (2d ago); `admitter room open sale` opens it"},
		{"opening by itself", status(func(s *room.Status) { s.Conf.State = room.Opening; s.Conf.OpensAt = noon.Add(3 * time.Minute) }), time.Time{}, well, room.StopOpening,
			"stands still: not open yet, set by carl, since 2026-11-19T12:00:00Z (2d ago); it opens by itself at 2026-11-21T12:03:00Z (in 3m), `admitter room open sale` opens it now"},
		{"opened by itself", status(func(s *room.Status) { s.Conf.State = room.Opening; s.Conf.OpensAt = noon }), time.Time{}, well, room.StopRate,
			"visitors are let in"},
		{"no admitter ever", status(nil), time.Time{}, fleet(), NoAdmitter,
			"stands still: no admitter is alive, nor was one in the last 10 minutes; start `admitter run`"},
		{"the admitter died", status(nil), time.Time{}, fleet(admitter("a", 6*time.Second, rounds(room.StopRate, 5000, 10)), stopped), NoAdmitter,
			"stands still: no admitter is alive; the last one, a on ha, fell silent, since 2026-11-21T11:59:54Z (6s ago); start `admitter run`"},
		{"the admitter was stopped", status(nil), time.Time{}, fleet(stopped), NoAdmitter,
			"stands still: no admitter is alive; the last one, b on hb, was stopped, since 2026-11-21T11:58:50Z (1m10s ago); start `admitter run`"},
		{"another room's", status(nil), time.Time{}, fleet(admitter("a", 0, room.RoomSign{Room: "gala", Cause: room.StopCap})), NotServed,
			"stands still: 1 admitter is alive, but none serves this room; start an admitter without --room, or with --room sale"},
		{"another epoch's", status(nil), time.Time{}, fleet(admitter("a", 0, other)), NotServed,
			"stands still: 1 admitter is alive, but none serves this room; start an admitter without --room, or with --room sale"},
		{"cap", status(func(s *room.Status) { s.Active = 460 }), time.Time{},
			fleet(admitter("a", 0, rounds(room.StopCap, 5000, 20)), admitter("b", time.Second, rounds(room.StopCap, 60_000, 20))), room.StopCap,
			"stands still: every slot is taken, 500 of 500, since 2026-11-21T11:58:59Z (1m1s ago); wait for slots to come back, or `admitter set sale --max-active N` if the shop can bear more"},
		{"at the cap in every round, and one let in for each that leaves", status(func(s *room.Status) { s.Active = 460 }), time.Time{},
			fleet(admitter("a", 0, turning)), room.StopCap,
			"visitors are let in as slots come back; `admitter set sale --max-active N` lets more in at once"},
		{"at the cap and moving", status(func(s *room.Status) { s.Active = 460 }), time.Time{}, well, room.StopCap,
			"visitors are let in as slots come back; `admitter set sale --max-active N` lets more in at once"},
		{"outbox", status(func(s *room.Status) { s.Outbox = 10_000 }), noon.Add(-90 * time.Second), fleet(admitter("a", 0, rounds(room.StopOutbox, 2000, 20))), room.StopOutbox,
			"stands still: 10000 admissions wait for Kafka, the oldest made 2026-11-21T11:58:30Z (1m30s ago), since 2026-11-21T11:59:58Z (2s ago); see that Kafka takes records: the admitter's log says what it answers"},
		{"away", status(nil), time.Time{}, fleet(admitter("a", 0, lost)), room.StopAway,
			"stands still: admitter a on ha can't reach Redis for its rounds (refused), since 2026-11-21T11:59:51Z (9s ago); look at Redis and the way to it"},
		{"away for one of two", status(nil), time.Time{}, fleet(admitter("a", 0, lost), admitter("b", 0, rounds(room.StopRate, 9, 9))), room.StopRate,
			"visitors are let in"},
		{"the line is gone", status(nil), time.Time{}, fleet(admitter("a", 0, gone)), room.StopRecovering,
			"stands still: Redis has lost the line that its admitter knows (recovering), since 2026-11-21T11:59:52Z (8s ago); a node or admitter that remembers it brings it back within seconds; when none does, `admitter room create sale --epoch E` does, with its places"},
		{"the line is gone, and rounds with it", status(nil), time.Time{}, fleet(admitter("a", 0, older)), room.StopRecovering,
			"stands still: Redis has lost the line that its admitter knows (recovering), since 2026-11-21T11:59:20Z (40s ago); a node or admitter that remembers it brings it back within seconds; when none does, `admitter room create sale --epoch E` does, with its places"},
		{"the line is gone, some time after a loss", status(func(s *room.Status) { s.Life = lossOf(1, 1, time.Minute, -time.Second) }), time.Time{},
			fleet(admitter("a", 0, gone)), room.StopRecovering,
			"stands still: Redis has lost the line that its admitter knows (recovering), since 2026-11-21T11:59:52Z (8s ago); a node or admitter that remembers it brings it back within seconds; when none does, `admitter room create sale --epoch E` does, with its places"},
		{"behind a loss", status(func(s *room.Status) { s.Life = lossOf(5760, 5702, 4*time.Second, 6*time.Second) }), time.Time{},
			fleet(admitter("a", 0, rounds(room.StopRecovering, 2000, 20))), room.StopRecovering,
			"stands still: Redis lost writes, and everybody who waits is behind the loss: 5760 places unknown, 5702 back, since 2026-11-21T11:59:56Z (4s ago); admission goes on by itself at 2026-11-21T12:00:06Z (in 6s), so that nobody who comes back is overtaken"},
		{"before a loss people are let in", status(func(s *room.Status) { s.Life = lossOf(5760, 5702, 4*time.Second, 6*time.Second) }), time.Time{}, well, room.StopRate,
			"visitors are let in"},
		{"a loss that is over", status(func(s *room.Status) { s.Life = lossOf(5760, 5702, 4*time.Second, 0) }), time.Time{},
			fleet(admitter("a", 0, rounds(room.StopRecovering, 2000, 20))), room.StopRate, "visitors are let in"},
		{"error", status(nil), time.Time{}, fleet(admitter("a", 0, failing)), room.StopError,
			"stands still: rounds of admitter a on ha fail (boom), since 2026-11-21T11:59:52Z (8s ago); look at its log"},
		{"no rounds", status(nil), time.Time{}, fleet(admitter("a", 0, rounds(room.StopRate, 5000, 40_000))), NoRounds,
			"stands still: admitter a on ha lives and makes no rounds, since 2026-11-21T11:59:20Z (40s ago); look at its log; start it again"},
		{"no round ever", status(nil), time.Time{}, fleet(admitter("a", 0, rounds("", 0, -1))), NoRounds,
			"stands still: admitter a on ha lives and makes no rounds; look at its log; start it again"},
		{"empty", status(func(s *room.Status) { s.Waiting = 0 }), time.Time{}, fleet(admitter("a", 0, rounds(room.StopEmpty, 600_000, 20))), room.StopEmpty,
			"stands still: nobody waits, since 2026-11-21T11:50:00Z (10m ago)"},
		{"empty until now", status(nil), time.Time{}, fleet(admitter("a", 0, rounds(room.StopEmpty, 600_000, 20))), room.StopRate,
			"visitors are let in"},
		{"resumed a moment ago", status(nil), time.Time{}, fleet(admitter("a", 0, changed)), room.StopRate,
			"visitors are let in"},
		{"well", status(nil), time.Time{}, well, room.StopRate, "visitors are let in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			why := Explain(c.status, acts, c.oldest, c.fleet)
			if got := why.String(noon); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if why.Cause != c.cause || why.Stands != strings.HasPrefix(c.want, "stands still") {
				t.Errorf("got cause %s, stands %v, want %s", why.Cause, why.Stands, c.cause)
			}
		})
	}
	// A paused room whose audit stream was cut still says that it is paused.
	why := Explain(status(func(s *room.Status) { s.Conf.State = room.Paused }), nil, time.Time{}, well)
	if got, want := why.String(noon), "stands still: paused; `admitter resume sale` lets visitors in again"; got != want {
		t.Errorf("without acts: got %s, want %s", got, want)
	}
	if got := Recovering("gala").String(noon); !regexp.MustCompile(`^stands still: .*lost its line; .*brings it back.*room create gala --epoch`).MatchString(got) {
		t.Errorf("recovering: got %s", got)
	}
}

// The last minute's admissions are the line's count now less what it was, as any
// admitter's sign tells it: over restarts, over a silent one, over lost writes.
func TestLately(t *testing.T) {
	past := func(pairs ...[2]int64) room.RoomSign {
		return room.RoomSign{Room: sale, Epoch: epoch, Past: pairs}
	}
	node := admitter("n", 0, past([2]int64{60_000, 1}))
	node.Role = room.RoleNode
	other := past([2]int64{60_000, 5})
	other.Epoch = "bbbbbbbb"
	for _, c := range []struct {
		name  string
		signs []room.Sign
		want  int64
		over  time.Duration
	}{
		{"nobody knows", nil, 0, 0},
		{"another's", []room.Sign{node, admitter("a", 0, other), admitter("b", 0, room.RoomSign{Room: "gala", Past: [][2]int64{{1, 1}}})}, 0, 0},
		{"a minute", []room.Sign{admitter("a", 0, past([2]int64{0, 1000}, [2]int64{55_000, 940}, [2]int64{65_000, 900}))}, 80, time.Minute},
		{"a second old", []room.Sign{admitter("a", time.Second, past([2]int64{54_000, 940}, [2]int64{64_000, 900}))}, 80, time.Minute},
		{"just started", []room.Sign{admitter("a", 0, past([2]int64{3000, 990}, [2]int64{12_000, 970}))}, 30, 12 * time.Second},
		{"started again", []room.Sign{admitter("a", 0, past([2]int64{12_000, 970})), admitter("b", 20*time.Second, past([2]int64{2_000, 950}, [2]int64{42_000, 900}))}, 98, time.Minute},
		{"standing still since", []room.Sign{admitter("a", 5*time.Minute, past([2]int64{100, 1000}))}, 0, time.Minute},
		{"writes were lost", []room.Sign{admitter("a", 0, past([2]int64{5000, 1200}, [2]int64{15_000, 990}))}, 10, 15 * time.Second},
	} {
		s := status(func(s *room.Status) { s.Stats.Admitted = 1000 })
		got, over := fleet(c.signs...).Lately(s)
		if got != c.want || over != c.over {
			t.Errorf("%s: got %d over %s, want %d over %s", c.name, got, over, c.want, c.over)
		}
	}
}

func TestPace(t *testing.T) {
	inside := func(ms int64) room.RoomSign { return room.RoomSign{Room: sale, Epoch: epoch, InsideMS: ms} }
	young := admitter("b", 0, inside(10))
	young.UpMS = 30_000
	for _, c := range []struct {
		rate  room.Rate
		signs []room.Sign
		want  string
	}{
		{50_000, []room.Sign{admitter("a", 0, inside(230_000)), young}, "the cap allows about 2.2 a second at 3m50s inside; the rate is 50: the cap rules"},
		{2_000, []room.Sign{admitter("a", 0, inside(230_000))}, "the cap allows about 2.2 a second at 3m50s inside; the rate is 2: the rate rules"},
		{50_000, nil, "the cap allows at least 0.69 a second, at 12m inside, the longest stay; the rate is 50: the cap may rule"},
		{500, nil, "the cap allows at least 0.69 a second, at 12m inside, the longest stay; the rate is 0.5: the rate rules"},
		{50_000, []room.Sign{admitter("a", time.Minute, inside(230_000))}, "the cap allows at least 0.69 a second, at 12m inside, the longest stay; the rate is 50: the cap may rule"},
	} {
		if got := fleet(c.signs...).Pace(status(func(s *room.Status) { s.Conf.Rate = c.rate })).String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 80 * time.Millisecond: "80ms", time.Second: "1s", 59*time.Second + 900*time.Millisecond: "59s", time.Minute: "1m",
		3*time.Minute + 50*time.Second: "3m50s", time.Hour + 59*time.Second: "1h", 26 * time.Hour: "1d2h",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v): got %s, want %s", d, got, want)
		}
	}
}
