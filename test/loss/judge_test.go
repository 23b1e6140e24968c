package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

const second = int64(1_000_000)

// The loss of every story: at 100 s, over at 101 s, and the run ends at 200 s.
func facts(persons ...Person) Facts {
	f := Facts{Persons: persons, LossUS: 100 * second, UpUS: 101 * second, EndUS: 200 * second, Still: true}
	for _, p := range persons {
		for _, s := range p.Stays {
			if s.AdmitUS > 0 {
				f.Admissions = append(f.Admissions, record(s, s.AdmitUS))
				f.Recorded = append(f.Recorded, id(s.Visitor, s.Number))
			}
		}
	}
	return f
}

func record(s Stay, at int64) Admission {
	return Admission{ID: id(s.Visitor, s.Number), Visitor: s.Visitor, Epoch: "e", Number: s.Number, AtUS: at}
}

func id(visitor string, number int64) string { return fmt.Sprintf("show.e.%d.%s", number, visitor) }

func let(visitor string, number, joined, admitted int64) Stay {
	return Stay{Visitor: visitor, Epoch: "e", Number: number, JoinedUS: joined * second, AdmitUS: admitted * second,
		PassUS: admitted*second + 1, Admission: id(visitor, number)}
}

func waits(visitor string, number, joined, position int64) Stay {
	return Stay{Visitor: visitor, Epoch: "e", Number: number, JoinedUS: joined * second, Position: position, PositionUS: 195 * second}
}

func alone(s Stay) Person { return Person{Stays: []Stay{s}, End: "left"} }

func TestJudge(t *testing.T) {
	gone := func(s Stay, word string) Stay { s.Gone, s.PassUS, s.Admission = word, 0, ""; return s }
	heard := func(s Stay, at int64) Stay { s.PositionUS = at * second; return s }
	for name, c := range map[string]struct {
		facts Facts
		want  Verdict // without the counts that each story has
		why   string  // is among what the verdict says
	}{
		"nothing is lost": {facts(alone(let("a", 1, 90, 95)), alone(let("b", 2, 91, 110)), alone(waits("c", 3, 120, 1)), alone(waits("d", 4, 120, 3))), Verdict{}, "2 wait still, at 1"},
		"a number twice":  {facts(alone(let("a", 1, 90, 95)), alone(let("b", 1, 110, 115))), Verdict{Twice: 1}, "1 numbers are two visitors', from 1 to 1"},
		"the same number of another epoch": {func() Facts {
			f := facts(alone(let("a", 1, 90, 95)))
			s := waits("b", 1, 120, 1)
			s.Epoch = "f"
			f.Persons = append(f.Persons, alone(s))
			return f
		}(), Verdict{}, ""},
		"a number of somebody who was told nothing": {func() Facts {
			f := facts(alone(let("a", 1, 90, 95)))
			f.Admissions = append(f.Admissions, Admission{ID: "show.e.1.x", Visitor: "x", Epoch: "e", Number: 1, AtUS: 120 * second})
			f.Recorded = append(f.Recorded, "show.e.1.x")
			return f
		}(), Verdict{Twice: 1}, ""},
		"told spent":          {facts(Person{Stays: []Stay{gone(waits("a", 1, 90, 1), "spent")}, Frights: []string{"spent"}}), Verdict{Lost: 1, Frightened: 1}, "lost: 1 were told spent"},
		"let in, told missed": {facts(alone(gone(let("a", 1, 90, 110), "missed"))), Verdict{Lost: 1}, "were let in, had no pass yet, and were told missed"},
		"its turn, and no pass": {facts(alone(func() Stay {
			s := let("a", 1, 90, 110)
			s.PassUS, s.Admission = 0, ""
			return s
		}())), Verdict{Lost: 1}, "got no pass"},
		"let in, told nothing": {func() Facts {
			f := facts(alone(waits("a", 1, 90, 1)))
			f.Admissions = append(f.Admissions, record(f.Persons[0].Stays[0], 110*second))
			return f
		}(), Verdict{Lost: 1, Unwritten: 1}, "were let in and not told"},
		"stands since the loss": {facts(alone(heard(waits("a", 1, 90, 1), 99))), Verdict{Lost: 1}, "no position since the loss"},
		"not heard any more":    {facts(alone(heard(waits("a", 1, 90, 1), 170))), Verdict{Lost: 1}, "no position any more"},
		"gave up":               {facts(Person{Stays: []Stay{waits("a", 1, 90, 1)}, End: "failed", Err: "told room_deleted"}), Verdict{Lost: 1}, "gave up: told room_deleted"},
		"two in one position":   {facts(alone(waits("a", 1, 90, 1)), alone(waits("b", 2, 90, 1))), Verdict{Lost: 1}, "wrong position"},
		"further than told":     {facts(alone(waits("a", 1, 90, 1)), alone(waits("b", 2, 90, 2)), alone(waits("c", 3, 90, 2))), Verdict{Lost: 1}, "wrong position"},
		"a line that moves": {func() Facts {
			f := facts(alone(waits("a", 1, 90, 3)), alone(waits("b", 2, 90, 2)))
			f.Still = false
			return f
		}(), Verdict{}, ""},
		"overtaken":                       {facts(alone(let("a", 1, 90, 120)), alone(let("b", 2, 91, 110))), Verdict{Overtaken: 1}, "1 were overtaken, such as number 1 by 2"},
		"overtaken by who came later":     {facts(alone(let("a", 1, 90, 120)), alone(let("b", 2, 105, 110))), Verdict{Overtaken: 1}, ""},
		"overtaken while still waiting":   {facts(alone(waits("a", 1, 90, 1)), alone(let("b", 2, 91, 110))), Verdict{Overtaken: 1}, ""},
		"in the same moment, in order":    {facts(alone(let("a", 1, 90, 110)), alone(let("b", 2, 91, 110))), Verdict{}, ""},
		"order before the loss":           {facts(alone(let("a", 1, 90, 97)), alone(let("b", 2, 91, 96))), Verdict{}, ""},
		"rolled back, admitted once more": {facts(alone(let("a", 1, 90, 97)), alone(let("b", 2, 91, 110))).and(let("a", 1, 90, 97), 120), Verdict{Again: 1}, ""},
		"the record lost, the visitor told": {func() Facts {
			f := facts(alone(let("a", 1, 90, 97)), alone(let("b", 2, 91, 110)))
			f.Admissions = append(f.Admissions[1:], record(f.Persons[0].Stays[0], 120*second))
			return f
		}(), Verdict{}, ""},
		"two ids": {func() Facts {
			f := facts(alone(let("a", 1, 90, 95)))
			f.Recorded = append(f.Recorded, "show.e.7.a")
			return f
		}(), Verdict{TwoIDs: 1}, "show.e.1.a and show.e.7.a"},
		"two ids of one person": {facts(Person{Stays: []Stay{let("a", 1, 90, 95), let("b", 2, 105, 110)}}), Verdict{TwoIDs: 1}, ""},
		"no record": {func() Facts {
			f := facts(alone(let("a", 1, 90, 95)))
			f.Admissions, f.Recorded = nil, nil
			return f
		}(), Verdict{Unrecorded: 1}, "1 passes are in hand"},
		"no booking": {func() Facts {
			f := facts(alone(let("a", 1, 90, 95)))
			f.Recorded = nil
			return f
		}(), Verdict{Unwritten: 1}, "1 admissions stand in Kafka"},
		"moved":      {facts(alone(func() Stay { s := let("a", 1, 90, 95); s.Moves = 1; return s }())), Verdict{Moved: 1}, "changed their number"},
		"slots":      {func() Facts { f := facts(alone(let("a", 1, 90, 95))); f.Slots = 3; return f }(), Verdict{Slots: 3}, "3 slots"},
		"placeless":  {facts(Person{End: "stopped", Err: "context canceled"}), Verdict{Placeless: 1}, "never told one"},
		"came back":  {facts(alone(func() Stay { s := let("a", 1, 90, 95); s.BackUS, s.BackAs = 120*second, "spent"; return s }())), Verdict{Returned: 1}, "1 spent"},
		"frightened": {facts(Person{Stays: []Stay{let("a", 1, 90, 95)}, Frights: []string{"place_foreign", "spent"}}), Verdict{Frightened: 1}, "1 place_foreign, 1 spent"},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.facts)
			if why := strings.Join(got.Why, "; "); !strings.Contains(why, c.why) {
				t.Errorf("says %q, want %q in it", why, c.why)
			}
			wantKept := c.want.Twice+c.want.Lost+c.want.Overtaken+c.want.TwoIDs+c.want.Moved+c.want.Placeless+c.want.Unwritten == 0 && c.want.Slots == 0
			if got.Kept() != wantKept {
				t.Errorf("kept: got %v, want %v", got.Kept(), wantKept)
			}
			got.Joined, got.Before, got.Admitted, got.Join, got.Position, got.Admission, got.Why = 0, 0, 0, 0, 0, 0, nil
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// and adds a record of a repeat.
func (f Facts) and(s Stay, at int64) Facts {
	f.Admissions = append(f.Admissions, record(s, at*second))
	return f
}

func TestJudgeCounts(t *testing.T) {
	f := facts(alone(let("a", 1, 90, 95)), alone(let("b", 2, 103, 106)), alone(waits("c", 3, 102, 1)))
	f.PositionUS = 104 * second
	got := judge(f)
	if got.Joined != 3 || got.Before != 1 || got.Admitted != 2 || got.Join != 2 || got.Position != 4 || got.Admission != 6 {
		t.Errorf("got %+v, want 3 joined, 1 before the loss, 2 admitted, the first after 2, 4 and 6 s", got)
	}
	got = judge(facts(alone(let("a", 1, 90, 95))))
	if !math.IsNaN(got.Join) || !math.IsNaN(got.Position) || !math.IsNaN(got.Admission) {
		t.Errorf("got %v, %v, %v s, want none", got.Join, got.Position, got.Admission)
	}
}
