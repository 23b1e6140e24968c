package venue

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"waitroom/internal/seat"
)

var twoPrices = Prices{Currency: "EUR", Amounts: map[string]int64{"A": 4500, "B": 0, "Balcony 2": 1200}}

// written is a plan as a text: "N2-A-1 A 4500 EUR, GA-1 standing* 0".
func written(p *Plan) string {
	var list []string
	for _, s := range p.Seats {
		star := ""
		if s.Unnumbered {
			star = "*"
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s%s %d %s", s.ID, s.Category, star, s.Amount, s.Currency)))
	}
	return strings.Join(list, ", ")
}

// faultsOf are those of an error as "4 twice, sections[0].rows[1] name".
func faultsOf(t *testing.T, err error) string {
	t.Helper()
	var faults *Faults
	if err == nil {
		return ""
	}
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want faults", err)
	}
	var list []string
	for _, f := range faults.List {
		where := f.Path
		if f.Line > 0 {
			where = fmt.Sprint(f.Line)
		}
		list = append(list, strings.TrimSpace(where+" "+string(f.Code)))
	}
	if faults.More > 0 {
		list = append(list, fmt.Sprintf("+%d", faults.More))
	}
	return strings.Join(list, ", ")
}

func TestReadCSV(t *testing.T) {
	for name, c := range map[string]struct{ text, plan, faults string }{
		"plain":            {text: "section,row,seat,category\nN2,A,1,A\nN2,A,2,B\n", plan: "N2-A-1 A 4500 EUR, N2-A-2 B 0"},
		"another order":    {text: "category,seat,row,section\nA,1,C,\n", plan: "C-1 A 4500 EUR"},
		"without sections": {text: "row,seat,category\nAA,10,B\nAA,9,B", plan: "AA-10 B 0, AA-9 B 0"},
		"BOM, CRLF, quotes, capitals and empty lines": {text: "\ufeff\"Section\",ROW,seat,\"category\"\r\n\r\n\"N2\",A,\"1\",\"Balcony 2\"\r\n",
			plan: "N2-A-1 Balcony 2 1200 EUR"},

		"nothing":               {text: "", faults: "empty"},
		"a header alone":        {text: "row,seat,category\n", faults: "empty"},
		"semicolons":            {text: "section;row;seat;category\nN2;A;1;A\n", faults: "1 separator"},
		"tabs":                  {text: "row\tseat\tcategory\n", faults: "1 separator"},
		"no header":             {text: "N2,A,1,A\n", faults: "1 column_unknown, 1 column_unknown, 1 column_unknown, 1 column_unknown, 1 column_missing, 1 column_missing, 1 column_missing"},
		"a price as a column":   {text: "row,seat,category,price\nA,1,A,5\n", faults: "1 column_unknown"},
		"a column twice":        {text: "row,row,seat,category\n", faults: "1 column_twice"},
		"UTF-16":                {text: "\xff\xfer\x00o\x00w\x00", faults: "1 encoding"},
		"Latin-1":               {text: "row,seat,category\nA,1,Empor\xe9\n", faults: "2 encoding"},
		"a seat twice":          {text: "row,seat,category\nA,1,A\nA,2,A\nA,1,B\n", faults: "4 twice"},
		"an open quote":         {text: "row,seat,category\nA,1,A\nA,\"2,A\nA,3,A\n", faults: "3 quotes"},
		"a quote in a cell":     {text: "row,seat,category\nA,1\",A\n", faults: "2 quotes"},
		"cells":                 {text: "row,seat,category\nA,1\nA,2,A,x\nA,3,A\n", faults: "2 cells, 3 cells"},
		"formulas":              {text: "row,seat,category\n=A,1,A\nA,+2,A\nA,-3,A\nA,4,@A\n", faults: "2 formula, 3 formula, 4 formula, 5 formula"},
		"a line within quotes":  {text: "row,seat,category\n\"A\nB\",1,A\nA,2,a\x00\n", faults: "2 control, 4 control"},
		"names":                 {text: "section,row,seat,category\nn2,A,1,A\nN2,A-B,1,A\n,,1,A\nN2,A,0,A\nN2,A,01,A\nN2,A,10000,A\nTOOLONGAA,A,1,A\nN2,A, 1,A\n", faults: "2 name, 3 name, 4 name, 5 name, 6 name, 7 name, 8 name, 9 name"},
		"categories":            {text: "row,seat,category\nA,1,\nA,2, A\nA,3," + strings.Repeat("x", 33) + "\n", faults: "2 category, 3 category, 4 category"},
		"a price is missing":    {text: "row,seat,category\nA,1,C\nA,2,C\nA,3,D\n", faults: "2 price_missing, 4 price_missing"},
		"several in one line":   {text: "row,seat,category\na,x,C\n", faults: "2 name, 2 name, 2 price_missing"},
		"a name of two parts":   {text: "row,seat,category\nN2-A,1,A\n", faults: "2 name"},
		"more faults than told": {text: "row,seat,category\n" + strings.Repeat("a,1,A\n", 50), faults: strings.TrimPrefix(faultLines(2, 21, "name"), ", ") + ", +30"},
	} {
		p, err := ReadCSV(strings.NewReader(c.text), twoPrices)
		if got := faultsOf(t, err); got != c.faults || (p == nil) != (c.faults != "") {
			t.Errorf("%s: got faults %q (%v), want %q", name, got, err, c.faults)
		}
		if p != nil && written(p) != c.plan {
			t.Errorf("%s: got %s, want %s", name, written(p), c.plan)
		}
	}
}

// faultLines are the faults of lines that follow each other.
func faultLines(from, to int, code string) (text string) {
	for n := from; n <= to; n++ {
		text += fmt.Sprintf(", %d %s", n, code)
	}
	return text
}

// What is told of a fault names both places and can be printed.
func TestFaultIsSafeToPrint(t *testing.T) {
	_, err := ReadCSV(strings.NewReader("row,seat,category\nA,1,A\nA,\x1b[31m,A\nA,1,A\n"), twoPrices)
	want := "line 3: control: cell \"\\x1b[31m\" has a control character\nline 4: twice: seat A-1 stands at line 2 already"
	if err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestReadJSON(t *testing.T) {
	const head = `{"currency":"EUR","categories":[{"category":"A","amount":4500},{"category":"standing","amount":0}],`
	for name, c := range map[string]struct{ text, plan, faults string }{
		"sections, rows, places": {text: head + `"sections":[{"section":"N2","category":"A","rows":[{"row":"B","seats":"1-2,4"},{"row":"A","seats":"1","category":"standing"}]},{"section":"GA","count":3,"category":"standing"}]}`,
			plan: "GA-1 standing* 0, GA-2 standing* 0, GA-3 standing* 0, N2-A-1 standing 0, N2-B-1 A 4500 EUR, N2-B-2 A 4500 EUR, N2-B-4 A 4500 EUR"},
		"no section, a row in two parts, a BOM": {text: "\ufeff" + head + `"sections":[{"rows":[{"row":"A","seats":"1","category":"A"},{"row":"A","seats":"2","category":"standing"}]}]}`,
			plan: "A-1 A 4500 EUR, A-2 standing 0"},

		"nothing":           {text: "", faults: "1 json"},
		"no sections":       {text: head + `"sections":[]}`, faults: "empty"},
		"a section of none": {text: head + `"sections":[{"section":"N2"}]}`, faults: "sections[0] empty"},
		"torn":              {text: head + "\n\"sections\":[{]}", faults: "2 json"},
		"cut":               {text: head + "\n", faults: "2 json"},
		"two plans":         {text: head + "\"sections\":[]}\n{}", faults: "2 json"},
		"an unknown field":  {text: head + "\n\"sections\":[{\"price\":5}]}", faults: "2 json"},
		"half a cent":       {text: "{\"categories\":[\n{\"category\":\"A\",\"amount\":12.5}]}", faults: "2 json"},
		"a field twice":     {text: "{\"currency\":\"EUR\",\n\"Currency\":\"KRW\"}", faults: "2 json"},
		"deep":              {text: strings.Repeat("[", 100), faults: "1 json"},
		"UTF-16":            {text: "\xff\xfe{\x00", faults: "encoding"},
		"a list":            {text: "[]", faults: "1 json"},
		"prices": {text: `{"currency":"eur","categories":[{"category":"A","amount":-1},{"category":"B"},{"category":"A","amount":2},{"category":"=A","amount":2},{"category":"C","amount":1000000000001}],"sections":[{"section":"GA","count":1,"category":"B"}]}`,
			faults: "categories[1] price_missing, categories[2] twice, categories[3] category, categories[0].amount price, categories[4].amount price, currency currency"},
		"no currency":    {text: `{"categories":[{"category":"A","amount":1}],"sections":[{"section":"GA","count":1,"category":"A"}]}`, faults: "currency currency"},
		"counts":         {text: head + `"sections":[{"section":"GA","count":0,"category":"A"},{"section":"GB","count":10000,"category":"A"},{"section":"ga","count":1,"category":"A"},{"section":"GC","count":1,"category":"A","rows":[{}]}]}`, faults: "sections[0].count too_many, sections[1].count too_many, sections[2].section name, sections[3] json"},
		"rows":           {text: head + `"sections":[{"section":"N2","rows":[{"row":"a","seats":"1","category":"A"},{"row":"A","seats":"1-","category":"A"},{"row":"A","seats":"2-1,x,","category":"A"},{"row":"A","seats":"1","category":"Z"},{"row":"B","seats":"1"}]}]}`, faults: "sections[0].rows[0].row name, sections[0].rows[1].seats name, sections[0].rows[2].seats name, sections[0].rows[2].seats name, sections[0].rows[2].seats name, sections[0].rows[3].category price_missing, sections[0].rows[4].category category"},
		"a seat twice":   {text: head + `"sections":[{"section":"GA","count":2,"category":"A"},{"rows":[{"row":"GA","seats":"2","category":"A"}]}]}`, faults: "sections[1].rows[0] twice"},
		"too many seats": {text: head + `"sections":[{"category":"A","rows":[` + strings.TrimSuffix(manyRows(11), ",") + `]}]}`, faults: "sections[0].rows[10] too_many"},
	} {
		p, err := ReadJSON(strings.NewReader(c.text))
		if got := faultsOf(t, err); got != c.faults || (p == nil) != (c.faults != "") {
			t.Errorf("%s: got faults %q (%v), want %q", name, got, err, c.faults)
		}
		if p != nil && written(p) != c.plan {
			t.Errorf("%s: got %s, want %s", name, written(p), c.plan)
		}
	}
}

// manyRows are rows of 9,999 seats.
func manyRows(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`{"row":"%s","seats":"1-9999"},`, seat.Row(i))
	}
	return text
}

func TestParsePrices(t *testing.T) {
	p, err := ParsePrices([]string{"A=4500", "Balcony 2=0"}, "EUR")
	if err != nil || p.Currency != "EUR" || p.Amounts["A"] != 4500 || len(p.Amounts) != 2 {
		t.Errorf("got %+v, %v, want both prices", p, err)
	}
	for text, want := range map[string]string{
		"A=-1":                  "--price A price",
		"A=12.50":               `--price "A=12.50" price`,
		"A":                     `--price "A" price`,
		"=5":                    `--price "=5" category`,
		"A=1 A=2":               `--price "A=2" twice`,
		"A=1000000000001":       "--price A price",
		"A=9999999999999999999": `--price "A=9999999999999999999" price`,
	} {
		if _, err := ParsePrices(strings.Fields(text), "EUR"); faultsOf(t, err) != want {
			t.Errorf("%s: got %q, want %q", text, faultsOf(t, err), want)
		}
	}
	for currency, want := range map[string]string{"": "--currency currency", "euro": "--currency currency", "EUR": ""} {
		if _, err := ParsePrices([]string{"A=1"}, currency); faultsOf(t, err) != want {
			t.Errorf("currency %q: got %q, want %q", currency, faultsOf(t, err), want)
		}
	}
	if _, err := ParsePrices([]string{"A=0"}, ""); err != nil {
		t.Errorf("what costs nothing without a currency: got %v", err)
	}
}

// endless is a file without an end.
type endless struct {
	text string
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.text)
	}
	e.read += n
	return n, nil
}

// A file beyond the bounds is not read to its end, in one line or in many, and not kept.
func TestBounds(t *testing.T) {
	for name, c := range map[string]struct{ head, text, want string }{
		"one line":        {"", "x", "file_large"},
		"one open quote":  {"row,seat,category\n\"", "x\n", "file_large"},
		"many lines":      {"row,seat,category\n", "A,1,A\n", faultLines(3, 22, "twice")[2:] + ", +"},
		"nothing in them": {"row,seat,category\n", "\n", "file_large"},
	} {
		e := &endless{text: c.text}
		_, err := ReadCSV(io.MultiReader(strings.NewReader(c.head), e), twoPrices)
		if got := faultsOf(t, err); !strings.HasPrefix(got, c.want) || e.read > 2*MaxBytes {
			t.Errorf("%s: got %q after %d bytes, want %q", name, got, e.read, c.want)
		}
	}
	if _, err := ReadJSON(&endless{text: " "}); faultsOf(t, err) != "file_large" {
		t.Errorf("JSON: got %v, want it too large", err)
	}
}

// 200,000 lines are refused at the first that a room has no place for, 100,000 are a plan,
// in bounded time and memory.
func TestManyLines(t *testing.T) {
	var text strings.Builder
	text.WriteString("section,row,seat,category\n")
	for i := range 2 * seat.MaxPerRoom {
		fmt.Fprintf(&text, "N%d,%s,%d,A\n", i/20_000, seat.Row(i/100%200), i%100+1)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	_, err := ReadCSV(strings.NewReader(text.String()), twoPrices)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if got, want := faultsOf(t, err), fmt.Sprintf("%d too_many", seat.MaxPerRoom+2); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Each seat is some 100 bytes in a list and some 50 in a map, which grow by doubling. The
	// race detector keeps on the heap what is on the stack without it.
	most := uint64(200 << 20)
	if raceDetector {
		most *= 8
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("got %d MB allocated, want %d at most", got>>20, most>>20)
	}
	t.Logf("%d of %d lines in %s", seat.MaxPerRoom, 2*seat.MaxPerRoom, took.Round(time.Millisecond))
	lines := strings.SplitAfterN(text.String(), "\n", seat.MaxPerRoom+2)
	p, err := ReadCSV(strings.NewReader(strings.Join(lines[:seat.MaxPerRoom+1], "")), twoPrices)
	if err != nil || len(p.Seats) != seat.MaxPerRoom {
		t.Errorf("got %v, want a plan of %d", err, seat.MaxPerRoom)
	}
}

// Whatever stands in a file: a plan is whole and in order, or there are faults.
func FuzzReadCSV(f *testing.F) {
	f.Add("section,row,seat,category\nN2,A,1,A\n")
	f.Add("row,seat,category\n\"A\",1,\"Balcony 2\"\r\nA,2,B\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ReadCSV(strings.NewReader(text), twoPrices)
		whole(t, p, err)
	})
}

func FuzzReadJSON(f *testing.F) {
	f.Add(`{"currency":"EUR","categories":[{"category":"A","amount":4500}],"sections":[{"section":"N2","category":"A","rows":[{"row":"B","seats":"1-2,4"}]},{"section":"GA","count":3,"category":"A"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ReadJSON(strings.NewReader(text))
		whole(t, p, err)
	})
}

func whole(t *testing.T, p *Plan, err error) {
	t.Helper()
	var faults *Faults
	if err != nil {
		if !errors.As(err, &faults) || p != nil || len(faults.List) == 0 || len(faults.List) > MaxFaults {
			t.Fatalf("got %v, %v, want a plan or some faults", p, err)
		}
		return
	}
	currency := ""
	for i, s := range p.Seats {
		if _, err := seat.ParseID(string(s.ID)); err != nil || s.Check() != nil || !categoryPattern.MatchString(s.Category) || i > 0 && p.Seats[i-1].ID >= s.ID {
			t.Fatalf("got %+v, want a good seat, each once, in order", s)
		}
		if s.Currency != "" && currency != "" && s.Currency != currency {
			t.Fatalf("got %s and %s, want one currency", s.Currency, currency)
		}
		currency = max(currency, s.Currency)
	}
	if len(p.Seats) == 0 || slices.ContainsFunc(p.Seats, func(s Seat) bool { return s.ID == "" }) {
		t.Fatal("got a plan without seats")
	}
}
