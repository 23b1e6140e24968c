package signs

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
)

// lossOf is a line that noticed a loss ago, and holds for some time from now on.
func lossOf(lost, back int64, ago, hold time.Duration) room.Life {
	return room.Life{ID: "r:1", LostAt: noon.Add(-ago), HoldUntil: noon.Add(hold), Lost: lost, Restored: back, Fences: 1}
}

// What a loss says while it lasts, and for an hour.
func TestLoss(t *testing.T) {
	asking := lossOf(0, 0, time.Second, 9*time.Second)
	asking.Asking = true
	again := lossOf(12, 0, time.Second, 9*time.Second)
	again.Asking, again.Fences = true, 2
	forgotten := lossOf(1, 0, time.Minute, 0) // no round came by since the hold's end
	forgotten.HoldUntil = time.Time{}
	for _, c := range []struct {
		name           string
		life           room.Life
		label, want    string
		underWay, gone bool
	}{
		{"asking", asking, "recovering",
			"2026-11-21T11:59:59Z (1s ago): nobody gets a number until the processes have told what they know, 3 s at most; admission goes on behind them at 2026-11-21T12:00:09Z (in 9s)", true, false},
		{"asking with more known, a second time", again, "recovering",
			"2026-11-21T11:59:59Z (1s ago): nobody gets a number until the processes have told what they know, 3 s at most; 12 places unknown, 0 back; admission goes on behind them at 2026-11-21T12:00:09Z (in 9s); 2 times so far", true, false},
		{"held", lossOf(5760, 5702, 4*time.Second, 6*time.Second), "recovering",
			"2026-11-21T11:59:56Z (4s ago): 5760 places unknown, 5702 back; admission goes on behind them at 2026-11-21T12:00:06Z (in 6s)", true, false},
		{"over", lossOf(5760, 5702, 12*time.Minute, -11*time.Minute), "last loss",
			"2026-11-21T11:48:00Z (12m ago): 5760 places unknown, 5702 back", false, false},
		{"over in this moment", lossOf(1, 1, 10*time.Second, 0), "last loss", "2026-11-21T11:59:50Z (10s ago): 1 place unknown, 1 back", false, false},
		{"over, the hold taken away", forgotten, "last loss", "2026-11-21T11:59:00Z (1m ago): 1 place unknown, 0 back", false, false},
		{"nothing lost", lossOf(0, 0, 59*time.Minute, -58*time.Minute), "last check",
			"2026-11-21T11:01:00Z (59m ago): Redis had begun anew, no place was unknown to it", false, false},
		{"an hour later", lossOf(5760, 5702, time.Hour, -time.Minute), "last loss", "2026-11-21T11:00:00Z (1h ago): 5760 places unknown, 5702 back", false, true},
		{"spare numbers", lossOf(70_000, 4300, 20*time.Second, -time.Second), "last loss",
			"2026-11-21T11:59:40Z (20s ago): 70000 places unknown, 4300 back (65536 or more may be spare numbers that nobody has: not every process could be asked)", false, false},
		{"none spare", lossOf(65_535, 0, 20*time.Second, -time.Second), "last loss", "2026-11-21T11:59:40Z (20s ago): 65535 places unknown, 0 back", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, has := LossOf(c.life, noon)
			if !has || l.UnderWay() != c.underWay || l.Recent() == c.gone || l.Label() != c.label || l.String() != c.want {
				t.Errorf("got  %v, under way %v, recent %v, %s %s\nwant true, %v, %v, %s %s", has, l.UnderWay(), l.Recent(), l.Label(), l, c.underWay, !c.gone, c.label, c.want)
			}
		})
	}
	if _, has := LossOf(room.Life{ID: "r:1"}, noon); has {
		t.Error("a line that lost nothing: got a loss, want none")
	}
}

// What people are told of the times and numbers of a loss is what the line's script
// does: here, and in docs/recovery.md.
func TestLossIsToldAsTheLineDoesIt(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	script, doc := read("../line/lua/prelude.lua"), read("../../docs/recovery.md")
	for _, c := range []struct{ script, doc string }{
		{fmt.Sprintf("local unseen_least, unseen_seconds = %d, 4\n", spare), "sets 65,536 aside (four times the joins of the busiest second of the last minute or two, if that is more)"},
		{"local asking_ms = 3000\n", "for 3 s at most"},
		{"local hold_ms, hold_more_ms, hold_most_ms = 10000, 2000, 120000\n", "10 s, then until 2 s after the last one who came back, 2 minutes at most"},
	} {
		if !strings.Contains(script, c.script) || !strings.Contains(doc, c.doc) {
			t.Errorf("got no %q in the script or no %q in the document, want both", c.script, c.doc)
		}
	}
	for _, said := range []string{"5760 places unknown, 5702 back; admission goes on behind them at ", "Redis had begun anew, no place was unknown to it",
		"last loss", "last check", "recovering"} {
		if !strings.Contains(doc, said) {
			t.Errorf("got no %q in the document, want what the status says", said)
		}
	}
}
