package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/booking"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
)

// write makes a file of the test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// operate runs commands one after the other, and compares what each says. A time is "?".
func operate(t *testing.T, db string, steps []step) {
	t.Helper()
	for _, c := range steps {
		args := append([]string{}, c.args...)
		code, out, errs := booker(t.Context(), append(args, "--db", db)...)
		if before, after, timed := strings.Cut(out, " of the plan, in "); timed {
			_, after, _ = strings.Cut(after, " s\n")
			out = before + " of the plan, in ? s\n" + after
		}
		if code != c.code || c.out != "-" && out != c.out {
			t.Errorf("%q: got %d %q %s, want %d %q", c.args, code, out, errs, c.code, c.out)
		}
		for _, want := range c.err {
			if !strings.Contains(errs, want) {
				t.Errorf("%q: got %q, want %q in it", c.args, errs, want)
			}
		}
	}
}

type step struct {
	args []string
	code int
	out  string   // "-": whatever
	err  []string // each within the errors
}

func args(text string, more ...string) []string { return append(strings.Fields(text), more...) }

// An operator brings a house to a room, changes its prices, blocks seats and reads the
// report; what can't be done is said by name and line, and nothing is done.
func TestPlansByHand(t *testing.T) {
	test := func(t *testing.T, db string) {
		good := write(t, "plan.csv", "section,row,seat,category\nN,A,1,A\nN,A,2,A\nN,A,3,B\n")
		bad := write(t, "bad.csv", "section,row,seat,category\nN,A,1,A\nN,A,1,A\nN,=A,2,A\nN,A,3,C\n")
		plan := write(t, "plan.json", `{"currency":"EUR","categories":[{"category":"A","amount":5000},{"category":"standing","amount":900}],
			"sections":[{"section":"N","category":"A","rows":[{"row":"A","seats":"1-2"}]},{"section":"GA","count":3,"category":"standing"}]}`)
		prices := []string{"--price", "A=4500", "--price", "B=0", "--currency", "EUR"}
		operate(t, db, []step{
			{args("seats import gig "+good, prices...), 1, "", []string{"room gig has no seats", "--new"}},
			{args("seats import gig "+bad+" --new", prices...), 1, "", []string{"bad.csv: nothing is imported",
				"line 3: twice: seat N-A-1 stands at line 2", "line 4: formula", "line 5: price_missing: category \"C\""}},
			{args("seats import gig "+good+" --new --dry-run", prices...), 0, "room gig: 3 seats of the plan, if it were done now: nothing is changed\n       3 added\n", nil},
			{args("report gig"), 1, "", []string{"room gig has no seats"}},
			{args("seats import gig "+good+" --new", prices...), 0, "room gig: 3 seats of the plan, in ? s\n       3 added\n", nil},
			{args("seats import gig "+good+" --new", prices...), 0, "room gig: 3 seats of the plan, in ? s\n       3 as they were\n", nil}, // a lost answer
			{args("seats import gig " + plan + " --new"), 1, "", []string{"room gig has 3 seats already"}},
			{args("seats import gog "+good, prices...), 1, "", []string{"did you mean gig?"}},
			{args("seats import gig " + plan), 0, "room gig: 5 seats of the plan, in ? s\n       3 added\n       2 with another category or price\n       1 that the plan lacks, which stay\n", nil},
			{args("seats import gig " + plan + " --remove-missing"), 0, "room gig: 5 seats of the plan, in ? s\n       5 as they were\n       1 removed, which the plan lacks\n", nil},
			{args("seats import gig "+good, "--price", "A=1", "--price", "B=1", "--currency", "KRW"), 1, "", []string{"one currency", "EUR", "KRW"}},
			{args("seats import gig "+good, "--price", "A=-1", "--price", "B", "--currency", "eur"), 2, "", []string{"--price A: price", `--price "B": price`, "--currency: currency"}},
			{args("seats import Gig "+plan, "--price", "A=1"), 2, "", []string{`room "Gig"`, "a JSON plan has its prices"}},
			{args("seats import gig plan.txt"), 2, "", []string{"--format"}},
			{args("seats import gig nowhere.csv"), 1, "", []string{"nowhere.csv"}},
			{args("seats block gig N-A-1 N-A-2", "--note", "=SUM(A1)"), 0, "room gig: 2 of 2 seats blocked\n", nil},
			{args("seats block gig N-A-1"), 0, "room gig: 0 of 1 seats blocked\n", nil},
			{args("seats block gig N-A-1 Z-9"), 1, "", []string{"does not exist", "Z-9"}},
			{args("seats block gig --section GA --category standing"), 0, "room gig: 3 of 3 seats blocked\n", nil},
			{args("seats unblock gig N-A-2 --section GA"), 2, "", []string{"want seats by name, or"}},
			{args("seats unblock gig"), 2, "", []string{"want seats by name, or"}},
			{args("seats unblock gig a-1 --section n"), 2, "", []string{`seat "a-1"`, "--section"}},
			{args("seats block gig N-A-2 --note", "a\x1b[31m"), 2, "", []string{"--note"}},
			{args("seats block gig N-A-2 --note", strings.Repeat("ä", 121)), 2, "", []string{"--note"}},
			{args("seats unblock gig N-A-2"), 0, "room gig: 1 of 1 seats are for sale again\n", nil},
			{args("report gig --format csv"), 0, "category,currency,total,free,held,blocked,booked,money_booked,money_captured,money_open\n" +
				"A,EUR,2,1,0,1,0,0,0,0\nstanding,EUR,3,0,0,3,0,0,0,0\n", nil},
			{args("report gig"), 0, "category    total     free     held  blocked   booked          money       captured           open\n" +
				"A               2        1        0        1        0              0              0              0 EUR\n" +
				"standing        3        0        0        3        0              0              0              0 EUR\n" +
				"all             5        1        0        4        0\n" +
				"1 blocked: =SUM(A1)\n", nil},
			{args("report gig --format yaml"), 2, "", []string{"--format"}},
			{args("seats --room gig --section N --count 1"), 0, "room gig: 0 of 1 seats added\nroom gig: 1 of them exist with another amount, and keep it\n", nil}, // as ever
		})
		code, out, errs := booker(t.Context(), "report", "gig", "--format=json", "--db", db)
		var r booking.Report
		if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || r.Seats != (booking.SeatCount{Total: 5, Free: 1, Blocked: 4}) {
			t.Errorf("report: got %d %s %s, want 5 seats", code, out, errs)
		}
	}
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "shop.db")) })
	t.Run("mysql", func(t *testing.T) { test(t, testenv.MySQL(t)) })
}

// What somebody wrote into the database is no formula in a table, and stays one cell.
func TestReportCellsAreTexts(t *testing.T) {
	bad := []string{"=1+1", "+1", "-1", "@x", "\t=1", "\r=1", `=HYPERLINK("x","y")`, "a,b\n=c"}
	var r booking.Report
	for _, text := range bad {
		r.Categories = append(r.Categories, booking.CategoryReport{Category: text, Currency: text, Seats: booking.SeatCount{Total: 1}})
	}
	var out bytes.Buffer
	if err := reportCSV(&out, r); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 1+len(bad) {
		t.Fatalf("got %q, %v, want a line for each", lines, err)
	}
	for _, line := range lines[1:] {
		for _, cell := range line {
			if strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("got cell %q, want no formula", cell)
			}
		}
	}
}

// What the bookings say stands beside what their seats cost, where it differs.
func TestReportSaysWhatDiffers(t *testing.T) {
	r := booking.Report{Money: []booking.CurrencyReport{{Currency: "EUR", Money: booking.Money{Booked: 500, Open: 500}, Bookings: 300}}}
	for bookings, want := range map[int64]bool{300: true, 500: false} {
		r.Money[0].Bookings = bookings
		var out bytes.Buffer
		if err := reportText(&out, r); err != nil || strings.Contains(out.String(), "the bookings themselves say 300") != want {
			t.Errorf("bookings of %d: got %s, %v", bookings, out.String(), err)
		}
	}
	if got := taken([]seat.Seat{{ID: "A-1", State: seat.Held}}); got != "A-1 (held)" {
		t.Errorf("got %s", got)
	}
}
