package seatmap_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what is sent with its file, which the page's tests read too.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := "testdata/" + file
	if *update {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got+"\n" != string(want) {
		t.Errorf("%s: got\n%s\n%v, want\n%s", path, got, err, want)
	}
}

func seats(ids string) (list []seat.Seat) {
	for id := range strings.FieldsSeq(ids) {
		list = append(list, seat.Seat{ID: seat.ID(id), State: seat.Free})
	}
	return list
}

func TestPlan(t *testing.T) {
	golden(t, "plan.json", seatmap.PlanOf(seats("A-1 A-2 A-3 A-5 B-2 AA-10 AA-12 AA-13")))
	golden(t, "plan_sections.json", seatmap.PlanOf(seats("LEFT-A-1 LEFT-A-2 LEFT-B-1 RIGHT-B-2 RIGHT-1-9 RIGHT-1-10")))
	for _, other := range []string{"A-1 A-2", "A-2 A-1", "A-1 A-3", "B-1 B-2", "A-A-1 A-A-2"} {
		if got, was := seatmap.PlanOf(seats(other)), seatmap.PlanOf(seats("A-1 A-2 A-3")); got == was {
			t.Errorf("%s: got the plan of A-1 A-2 A-3", other)
		}
	}
}

// fixed is maps over seats that are given, on an empty log.
func fixed(t testing.TB, list []seat.Seat) *seatmap.Maps {
	t.Helper()
	b := bookingtest.New(t, bookingtest.SQLite(t), 0, nil)
	return maps(t, b.DB, func(p *seatmap.Parts, _ *seatmap.Config) {
		p.Load = func(context.Context, room.Name) ([]seat.Seat, error) { return list, nil }
	})
}

// ask is a request of a browser, which unpacks.
func ask(t testing.TB, serve func(http.ResponseWriter, *http.Request, room.Name) error, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	if err := serve(w, r, "gig"); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return w
}

func TestAnswers(t *testing.T) {
	list := seats("A-1 A-2 A-3 A-5 B-2")
	list[1].State, list[4].State = seat.Held, seat.Booked
	m, twin := fixed(t, list), fixed(t, list)
	version := func(body string) string {
		_, rest, _ := strings.Cut(body, `"version":"`)
		v, _, _ := strings.Cut(rest, `"`)
		return v
	}
	short := ask(t, m.Seats, "/seats?plan")
	golden(t, "seats.json", strings.Replace(short.Body.String(), version(short.Body.String()), "LIFE.1.0", 1))
	long := ask(t, m.Seats, "/seats")
	golden(t, "seats_list.json", long.Body.String())
	plan := ask(t, m.Plan, "/plan")
	v := version(plan.Body.String())

	for _, c := range []struct {
		what, path string
		serve      func(http.ResponseWriter, *http.Request, room.Name) error
		first      *httptest.ResponseRecorder
	}{{"short", "/seats?plan", m.Seats, short}, {"list", "/seats", m.Seats, long}, {"plan", "/plan", m.Plan, plan},
		{"short of another booker", "/seats?plan", twin.Seats, short}, {"list of another booker", "/seats", twin.Seats, long},
		{"plan of another booker", "/plan", twin.Plan, plan}} {
		etag := c.first.Header().Get("ETag")
		for header, status := range map[string]int{etag: 304, "W/" + strings.TrimPrefix(etag, "W/"): 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200, "": 200} {
			w := ask(t, c.serve, c.path, "If-None-Match", header)
			if w.Code != status || w.Header().Get("ETag") != etag || (status == 304) != (w.Body.Len() == 0) {
				t.Errorf("%s, If-None-Match %s: got %d with ETag %s and %d bytes, want %d with %s", c.what, header, w.Code, w.Header().Get("ETag"), w.Body.Len(), status, etag)
			}
		}
	}
	if short.Header().Get("ETag") == long.Header().Get("ETag") {
		t.Error("got one ETag for two representations")
	}
	for path, want := range map[string]string{
		"/plan": "private, no-cache", "/plan?v=0": "private, no-cache", "/plan?v=" + v: "private, max-age=31536000, immutable",
	} {
		if got := ask(t, m.Plan, path).Header().Get("Cache-Control"); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// A hall of 20,000, sold as halls are: from the front, with holes, at its edge what
// is held, and some chosen at random.
func sold(share float64) []seat.Seat {
	list := make([]seat.Seat, 0, 20_000)
	dice := rand.New(rand.NewPCG(1, 2))
	for row := range 200 {
		for n := range 100 {
			s := seat.Seat{ID: seat.ID(seat.Row(row) + "-" + strconv.Itoa(n+1)), State: seat.Free}
			// Groups of 1 to 6 take seats beside each other; the front goes first.
			list = append(list, s)
		}
	}
	for taken := 0; taken < int(share*20_000); {
		row := int(200 * dice.Float64() * dice.Float64())
		at, group := dice.IntN(100), 1+dice.IntN(6)
		state := seat.Booked
		if dice.IntN(12) == 0 {
			state = seat.Held
		}
		for n := at; n < min(100, at+group); n++ {
			if s := &list[row*100+n]; s.State == seat.Free {
				s.State = state
				taken++
			}
		}
	}
	return list
}

// What 20,000 seats weigh, at every part of a sale.
func TestSizes(t *testing.T) {
	for _, share := range []float64{0, .1, .25, .4, .5, .6, .75, .9} {
		m := fixed(t, sold(share))
		w := ask(t, m.Seats, "/seats?plan", "Accept-Encoding", "gzip")
		plan := ask(t, m.Plan, "/plan", "Accept-Encoding", "gzip")
		if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > 6<<10 || plan.Body.Len() > 6<<10 {
			t.Errorf("%.0f %% sold: got a map of %d bytes, a plan of %d, want 6 KB each at most", 100*share, w.Body.Len(), plan.Body.Len())
		}
		t.Logf("%.0f %% sold: map %d bytes, plan %d", 100*share, w.Body.Len(), plan.Body.Len())
	}
	// The worst: each seat by itself.
	list := sold(0)
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range list {
		list[i].State = []seat.State{seat.Free, seat.Held, seat.Booked}[dice.IntN(3)]
	}
	if w := ask(t, fixed(t, list).Seats, "/seats?plan", "Accept-Encoding", "gzip"); w.Body.Len() > 6<<10 {
		t.Errorf("at random: got %d bytes, want 6 KB at most", w.Body.Len())
	} else {
		t.Logf("at random: %d bytes", w.Body.Len())
	}
}

// A body is made once for all who ask for it.
func TestBodiesAreMadeOnce(t *testing.T) {
	m := fixed(t, sold(.5))
	ask(t, m.Seats, "/seats?plan")
	made := testing.AllocsPerRun(10, func() { ask(t, m.Seats, "/seats?plan", "Accept-Encoding", "gzip") })
	if made > 100 { // a compressor has hundreds of thousands of bytes; the request itself some allocations
		t.Errorf("got %.0f allocations a request, want a body that is there", made)
	}
}

// priced are seats of which a plan says something: "A-1:A:4500:EUR GA-1*:standing".
func priced(text string) (list []seat.Seat) {
	for one := range strings.FieldsSeq(text) {
		parts := append(strings.Split(one, ":"), "", "", "")
		amount, _ := strconv.ParseInt(parts[2], 10, 64)
		id, star := strings.CutSuffix(parts[0], "*")
		list = append(list, seat.Seat{ID: seat.ID(id), State: seat.Free, Category: parts[1], Unnumbered: star, Price: seat.Price{Amount: amount, Currency: parts[3]}})
	}
	return list
}

// A plan says of each seat what it costs, in runs, and which rows nobody chooses from. What
// it says is part of its version; a plan that says nothing is as it was.
func TestPlanOfPrices(t *testing.T) {
	golden(t, "plan_prices.json", seatmap.PlanOf(priced("A-1:A:4500:EUR A-2:A:4500:EUR A-4:B:2500:EUR A-5:A:4500:EUR B-1:B:2500:EUR B-2:B:2500:EUR C-1:A:4500:EUR D-1 GA-1*:standing GA-2*:standing")))
	one := seatmap.PlanOf(priced("A-1:A:4500:EUR A-2:A:4500:EUR"))
	if strings.Contains(one, `"prices":[[`) || !strings.Contains(one, `"prices":[{"category":"A","amount":4500,"currency":"EUR"}]`) {
		t.Errorf("got %s, want one price for all", one)
	}
	seen := map[string]string{}
	for _, text := range []string{"A-1 A-2", "A-1:A A-2:A", "A-1:A:1:EUR A-2:A:1:EUR", "A-1:A:2:EUR A-2:A:2:EUR", "A-1:A:1:KRW A-2:A:1:KRW", "A-1:A:1:EUR A-2:B:1:EUR", "A-1:B:1:EUR A-2:A:1:EUR", "A-1* A-2*"} {
		_, rest, _ := strings.Cut(seatmap.PlanOf(priced(text)), `"version":"`)
		version, _, _ := strings.Cut(rest, `"`)
		if seen[version] != "" {
			t.Errorf("got version %s for %s and for %s", version, text, seen[version])
		}
		seen[version] = text
	}
}

// More kinds of seats than a house has are not told, and nothing else goes wrong.
func TestPlanOfManyPrices(t *testing.T) {
	list := make([]seat.Seat, 5000)
	for i := range list {
		list[i] = seat.Seat{ID: seat.ID("A-" + strconv.Itoa(i+1)), State: seat.Free, Category: "c" + strconv.Itoa(i), Price: seat.Price{Amount: int64(i + 1), Currency: "EUR"}}
	}
	if got := strings.Count(seatmap.PlanOf(list), `"category":`); got != 1001 {
		t.Errorf("got %d prices, want 1000 and the one of the rest", got)
	}
}
