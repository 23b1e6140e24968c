package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// freshUS is how old a position may be when the run ends: the longest silence
// that a visitor believes, twice the longest beat and 2 s (PROTOCOL.md).
const freshUS = 22_000_000

// Person is one of the crowd, and all that a node told it. Moments are µs since
// 1970, 0 where it did not happen.
type Person struct {
	Stays   []Stay
	End     string
	Err     string   `json:",omitempty"`
	Frights []string `json:",omitempty"` // words that nobody gave it cause for, each once
}

// Stay is one place of a person.
type Stay struct {
	Visitor, Epoch, Admission             string
	Number, Position                      int64
	JoinedUS, PositionUS, AdmitUS, PassUS int64
	Moves                                 int    // other numbers told for the same place
	Gone                                  string // the word that ended it without a pass
	BackUS                                int64  // came back with the pass in hand and was answered
	BackAs                                string // what it was told then
}

// Admission is a record of waitroom.admitted.
type Admission struct {
	ID, Visitor, Epoch string
	Number, AtUS       int64
}

// Facts are what was told and written down, nothing of it by the line itself but
// the slots.
type Facts struct {
	Persons    []Person
	Admissions []Admission // all records, repeats too
	Recorded   []string    // admission ids in the booker's database
	Slots      int64       // taken at the end, when every claim and pass was over
	PositionUS int64       // of the first position told after UpUS, 0: none
	LossUS     int64       // when the line was taken away
	UpUS       int64       // when a Redis answered again
	EndUS      int64
	Still      bool // nobody was admitted any more when the run ended
}

// Verdict is a row of the table. The first seven have to be 0.
type Verdict struct {
	Twice     int   // numbers told to, or admitted for, two visitors
	Lost      int   // places that came to nothing
	Overtaken int   // let in, after the loss, later than somebody with a higher number
	TwoIDs    int   // persons admitted under two admission ids
	Slots     int64 // leaked
	Moved     int   // places whose number changed
	Placeless int   // persons who asked for a place and were never told one

	Joined, Before, Admitted int // places told, of them before the loss; visitors admitted
	Frightened               int // persons told a word they had given no cause for
	Again                    int // admissions repeated under the same id, which is allowed
	Unrecorded               int // passes in hand of which neither Kafka nor SQL knows
	Unwritten                int // admissions in Kafka that the booker's database does not have
	Returned                 int // persons with a pass who came back
	// Seconds from the loss until the first of each; NaN: none came.
	Join, Position, Admission float64

	Why []string // a sentence for each count above that is not 0
}

// Kept reports whether every promise was.
func (v Verdict) Kept() bool {
	return v.Twice+v.Lost+v.Overtaken+v.TwoIDs+v.Moved+v.Placeless+v.Unwritten == 0 && v.Slots == 0
}

// judge compares what everybody was told with what was written down.
//
// A visitor is lost who has no pass in hand at the end and does not wait either
// with a fresh position that can be right: at least its rank among those of us who
// still wait, and greater than that of everybody before it once the line is still.
// It is overtaken when somebody with a higher number was admitted after the loss
// and before it, by the first admission of each that anybody knows of: by Kafka's
// record, or by what the visitor was told. Order before the loss is not judged
// here; admissions that were rolled back and come again count as they were first.
func judge(f Facts) Verdict {
	v := Verdict{Slots: f.Slots}
	j := &judgement{Facts: f, v: &v, first: firstAdmissions(f)}
	j.count()
	j.twice()
	j.lost()
	j.overtaken()
	j.ids()
	j.firsts()
	if v.Slots != 0 {
		j.say("%d slots are taken with nobody in them", v.Slots)
	}
	return v
}

type judgement struct {
	Facts
	v     *Verdict
	first map[string]int64 // visitor → µs
}

func (j *judgement) say(format string, args ...any) {
	j.v.Why = append(j.v.Why, fmt.Sprintf(format, args...))
}

// firstAdmissions is when each visitor was first admitted.
func firstAdmissions(f Facts) map[string]int64 {
	first := map[string]int64{}
	note := func(visitor string, at int64) {
		if had, ok := first[visitor]; !ok || at < had {
			first[visitor] = at
		}
	}
	for _, a := range f.Admissions {
		note(a.Visitor, a.AtUS)
	}
	for _, p := range f.Persons {
		for _, s := range p.Stays {
			// The words come after the line's own moment, so they count only where
			// they are all there is, or where the record is of a repeat.
			for _, at := range []int64{s.AdmitUS, s.PassUS} {
				if at > 0 {
					note(s.Visitor, at)
				}
			}
		}
	}
	return first
}

func (j *judgement) count() {
	v, words := j.v, map[string]int{}
	for _, p := range j.Persons {
		if len(p.Stays) == 0 {
			v.Placeless++
		}
		if len(p.Frights) > 0 {
			v.Frightened++
		}
		for _, word := range p.Frights {
			words[word]++
		}
		for _, s := range p.Stays {
			v.Joined++
			if s.JoinedUS < j.LossUS {
				v.Before++
			}
			if s.Moves > 0 {
				v.Moved++
			}
			if s.BackUS > 0 {
				v.Returned++
			}
		}
	}
	v.Admitted = len(j.first)
	if v.Placeless > 0 {
		j.say("%d persons asked for a place and were never told one", v.Placeless)
	}
	if v.Frightened > 0 {
		j.say("%d persons were told without cause: %s", v.Frightened, tally(words))
	}
	if v.Moved > 0 {
		j.say("%d places changed their number", v.Moved)
	}
	backs := map[string]int{}
	for _, p := range j.Persons {
		for _, s := range p.Stays {
			if s.BackUS > 0 {
				backs[s.BackAs]++
			}
		}
	}
	if v.Returned > 0 {
		j.say("%d came back with a pass in hand and were told: %s", v.Returned, tally(backs))
	}
}

// tally is "12 spent, 3 missed".
func tally(words map[string]int) string {
	var list []string
	for _, word := range slices.Sorted(maps.Keys(words)) {
		list = append(list, fmt.Sprintf("%d %s", words[word], word))
	}
	return strings.Join(list, ", ")
}

type placeNumber struct {
	epoch  string
	number int64
}

func (j *judgement) twice() {
	holders := map[placeNumber]map[string]bool{}
	hold := func(epoch string, number int64, visitor string) {
		n := placeNumber{epoch, number}
		if holders[n] == nil {
			holders[n] = map[string]bool{}
		}
		holders[n][visitor] = true
	}
	for _, p := range j.Persons {
		for _, s := range p.Stays {
			hold(s.Epoch, s.Number, s.Visitor)
		}
	}
	for _, a := range j.Admissions {
		hold(a.Epoch, a.Number, a.Visitor)
	}
	lowest, highest := int64(math.MaxInt64), int64(0)
	for n, visitors := range holders {
		if len(visitors) > 1 {
			j.v.Twice++
			lowest, highest = min(lowest, n.number), max(highest, n.number)
		}
	}
	if j.v.Twice > 0 {
		j.say("%d numbers are two visitors', from %d to %d", j.v.Twice, lowest, highest)
	}
}

func (j *judgement) lost() {
	why := map[string]int{}
	var standing []Stay
	for _, p := range j.Persons {
		for i, s := range p.Stays {
			_, admitted := j.first[s.Visitor]
			switch {
			case s.PassUS > 0:
			case s.Gone != "" && admitted:
				why["were let in, had no pass yet, and were told "+s.Gone]++
			case s.Gone != "":
				why["were told "+s.Gone]++
			case i < len(p.Stays)-1:
				why["had another place given to them"]++
			case p.Err != "" && p.End != "stopped":
				why["gave up: "+p.Err]++
			case s.AdmitUS > 0 && s.PositionUS < s.AdmitUS:
				why["were told that it is their turn, and got no pass"]++
			case admitted:
				why["were let in and not told, so they have no pass"]++
			case s.PositionUS < j.UpUS:
				why["heard no position since the loss"]++
			case s.PositionUS < j.EndUS-freshUS:
				why["heard no position any more"]++
			default:
				standing = append(standing, s)
			}
		}
	}
	slices.SortFunc(standing, func(a, b Stay) int { return cmp.Compare(a.Number, b.Number) })
	last := int64(0)
	for i, s := range standing {
		if s.Position < int64(i)+1 || j.Still && s.Position <= last {
			why["wait with a wrong position"]++
			continue
		}
		last = s.Position
	}
	for _, text := range slices.Sorted(maps.Keys(why)) {
		j.v.Lost += why[text]
		j.say("lost: %d %s", why[text], text)
	}
	if len(standing) > 0 {
		j.say("%d wait still, at %d and further", len(standing), standing[0].Position)
	}
}

func (j *judgement) overtaken() {
	type turn struct {
		number, at int64
		visitor    string
	}
	var turns []turn
	for _, p := range j.Persons {
		for _, s := range p.Stays {
			at, admitted := j.first[s.Visitor]
			switch {
			case admitted:
				turns = append(turns, turn{s.Number, at, s.Visitor})
			case s.Gone == "" && s.PositionUS >= j.UpUS: // waits still
				turns = append(turns, turn{s.Number, math.MaxInt64, s.Visitor})
			}
		}
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(b.number, a.number) })
	// By number from the highest down: the earliest admission after the loss among
	// those with a higher number.
	earliest, by := int64(math.MaxInt64), int64(0)
	var example string
	for i := 0; i < len(turns); {
		next := i // those with the same number do not overtake each other here
		for ; next < len(turns) && turns[next].number == turns[i].number; next++ {
			if t := turns[next]; earliest < t.at {
				j.v.Overtaken++
				if example == "" {
					example = fmt.Sprintf("number %d by %d", t.number, by)
				}
			}
		}
		for ; i < next; i++ {
			if t := turns[i]; t.at >= j.UpUS && t.at < earliest {
				earliest, by = t.at, t.number
			}
		}
	}
	if j.v.Overtaken > 0 {
		j.say("%d were overtaken, such as %s", j.v.Overtaken, example)
	}
}

// ids: under how many admission ids a person was let in, how often the same id
// came again, and of which nobody has a record.
func (j *judgement) ids() {
	person := map[string]int{} // by visitor; a stranger is nobody of the crowd
	for i, p := range j.Persons {
		for _, s := range p.Stays {
			person[s.Visitor] = i
		}
	}
	admitted, records := map[string]map[string]bool{}, map[string]map[int64]bool{}
	note := func(visitor, id string) {
		who := visitor
		if i, ok := person[visitor]; ok {
			who = fmt.Sprint("person ", i)
		}
		if admitted[who] == nil {
			admitted[who] = map[string]bool{}
		}
		admitted[who][id] = true
	}
	for _, a := range j.Admissions {
		note(a.Visitor, a.ID)
		if records[a.ID] == nil {
			records[a.ID] = map[int64]bool{}
		}
		records[a.ID][a.AtUS] = true
	}
	recorded := map[string]bool{}
	for _, id := range j.Recorded {
		recorded[id] = true
		note(id[strings.LastIndexByte(id, '.')+1:], id)
	}
	for _, p := range j.Persons {
		for _, s := range p.Stays {
			if s.Admission == "" {
				continue
			}
			note(s.Visitor, s.Admission)
			if !recorded[s.Admission] && len(records[s.Admission]) == 0 {
				j.v.Unrecorded++
			}
		}
	}
	for id, at := range records {
		j.v.Again += len(at) - 1
		if !recorded[id] {
			j.v.Unwritten++
		}
	}
	for _, ids := range admitted {
		if len(ids) > 1 {
			if j.v.TwoIDs++; j.v.TwoIDs == 1 {
				j.say("somebody was admitted as %s", strings.Join(slices.Sorted(maps.Keys(ids)), " and "))
			}
		}
	}
	if j.v.Unwritten > 0 {
		j.say("%d admissions stand in Kafka and not in the database", j.v.Unwritten)
	}
	if j.v.Unrecorded > 0 {
		j.say("%d passes are in hand of which neither Kafka nor the database knows", j.v.Unrecorded)
	}
}

func (j *judgement) firsts() {
	join, admission := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, p := range j.Persons {
		for _, s := range p.Stays {
			if s.JoinedUS >= j.UpUS {
				join = min(join, s.JoinedUS)
			}
		}
	}
	for _, a := range j.Admissions {
		if a.AtUS >= j.UpUS {
			admission = min(admission, a.AtUS)
		}
	}
	since := func(at int64) float64 {
		if at == math.MaxInt64 || at == 0 {
			return math.NaN()
		}
		return float64(at-j.LossUS) / 1e6
	}
	j.v.Join, j.v.Position, j.v.Admission = since(join), since(j.PositionUS), since(admission)
}
