package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// control is the kind that takes nothing away: what it shows is the machine's doing.
const control = "none"

// Row is one kind of loss and what became of it.
type Row struct {
	Kind, What string
	Took       string // what was taken away, by what the harness saw
	Verdict    Verdict
	Seconds    float64 // the whole run
	Load       string  // load average at its end
	Pace       Pace
	Slow       string `json:",omitempty"` // why it does not count
	Failed     string `json:",omitempty"` // why it could not be made
}

// Counts reports whether the run was made, on a machine that kept up.
func (r Row) Counts() bool { return r.Failed == "" && r.Slow == "" }

// Kept reports whether the run counts and every promise was kept.
func (r Row) Kept() bool { return r.Counts() && r.Verdict.Kept() }

// Broken reports whether the run counts and a promise was broken.
func (r Row) Broken() bool { return r.Counts() && !r.Verdict.Kept() }

// MarshalJSON writes moments that did not come as null: JSON has no NaN.
func (v Verdict) MarshalJSON() ([]byte, error) {
	type plain Verdict
	seconds := func(s float64) *float64 {
		if math.IsNaN(s) {
			return nil
		}
		return &s
	}
	flat := plain(v)
	flat.Join, flat.Position, flat.Admission = 0, 0, 0
	return json.Marshal(struct {
		plain
		Join, Position, Admission *float64
	}{flat, seconds(v.Join), seconds(v.Position), seconds(v.Admission)})
}

func printHead(w io.Writer) {
	fmt.Fprintln(w, "| kind | joined (before) | admitted | twice | lost | overtaken | two ids | slots leaked | moved | no place | frightened | same id again | first join / position / admission | late / still | load |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
}

func (r Row) print(w io.Writer) {
	v := r.Verdict
	if r.Failed != "" {
		fmt.Fprintf(w, "| %s | could not be run |\n", r.Kind)
		return
	}
	kind := r.Kind
	if r.Slow != "" {
		kind += " (does not count)"
	}
	fmt.Fprintf(w, "| %s | %d (%d) | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s / %s / %s | %.1f s / %.1f s | %s |\n",
		kind, v.Joined, v.Before, v.Admitted, v.Twice, v.Lost, v.Overtaken, v.TwoIDs, v.Slots, v.Moved, v.Placeless, v.Frightened, v.Again,
		seconds(v.Join), seconds(v.Position), seconds(v.Admission),
		r.Pace.Late.Seconds(), r.Pace.Still.Seconds(), r.Load)
}

func seconds(s float64) string {
	if math.IsNaN(s) {
		return "never"
	}
	return fmt.Sprintf("%.1f s", s)
}

// explain says for each row what was done, and a sentence for what is not 0.
func explain(w io.Writer, rows []Row) {
	fmt.Fprintln(w)
	for _, r := range rows {
		if r.Kind == control && r.Broken() {
			fmt.Fprintf(w, "%s took nothing away and did not hold: the machine is too slow for this size, and no other row proves anything.\n\n", control)
		}
		word := "kept"
		switch {
		case r.Failed != "":
			word = "could not be run: " + r.Failed
		case r.Slow != "":
			word = "does not count: " + r.Slow
		case !r.Kept():
			word = "BROKEN"
		}
		fmt.Fprintf(w, "- %s (%s): %s. %s, %s\n", r.Kind, r.What, word, r.Took, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second))
		for _, why := range r.Verdict.Why {
			fmt.Fprintf(w, "  - %s\n", why)
		}
	}
}
