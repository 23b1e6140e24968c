package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/testenv"
)

func TestCallers(t *testing.T) {
	bad := errors.New("bad")
	var seen [100]atomic.Int64
	got := callers(t.Context(), 7, len(seen), time.Minute, func(_ context.Context, i int) error {
		seen[i].Add(1)
		if i%10 == 3 {
			return bad
		}
		return nil
	})
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("act %d: got %d times, want once", i, n)
		}
	}
	if len(got.times) != 90 || got.failed != 10 || !errors.Is(got.some(), bad) {
		t.Errorf("got %d done, %d failed, %v, want 90, 10 and the error", len(got.times), got.failed, got.some())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := callers(ctx, 7, 100, time.Minute, func(context.Context, int) error { return nil }); got.all(100) == nil {
		t.Error("nobody called after the end: got no error, want one")
	}
}

// A rate at which some acts failed is not the aim's.
func TestShopFigure(t *testing.T) {
	var out strings.Builder
	b := &bench{table: table{out: &out}}
	f := ShopFigure{Figure: Figure{Name: "holds", Aim: "≥ 2/s", Unit: "/s", Met: atLeast(2)}}
	f.add(tally{took: time.Second, times: []float64{3, 1, 2}}, spent{200, 300}, floors{trips: 6, one: 1.5, gathered: 3, cost: spent{100, 150}})
	b.reportShop(f)
	f.add(tally{took: time.Second, times: []float64{3, 1, 2}, failed: 7, first: errors.New("bad")}, spent{}, floors{})
	b.reportShop(f)
	for _, want := range []string{"≥ 2/s, met | 3.00 /s | – | 2.00, 3.00, 3.00 | 6.00 (× 0.50) | 1.50 (× 2.00) | 3.00 (× 1.00) | 200 + 300 (100 + 150) | , no errors",
		"≥ 2/s, **missed** |", "**7 errors**, the first: bad"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s\nwant %q in it", out.String(), want)
		}
	}
}

// Who comes while another one is served waits since it was due, not since it was sent:
// a server that stops for a second is late for all who came meanwhile.
func TestOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := make(chan struct{}, 1)
		got := onTime(t.Context(), 10, 5, time.Minute, func(_ context.Context, i int, _ time.Time) error {
			server <- struct{}{}
			defer func() { <-server }()
			if i == 0 {
				time.Sleep(time.Second)
			}
			return nil
		})
		slices.Sort(got.times)
		if want := []float64{600, 700, 800, 900, 1000}; !slices.Equal(got.times, want) || got.failed > 0 {
			t.Errorf("got %v ms and %d failed, want %v and none", got.times, got.failed, want)
		}
		got = onTime(t.Context(), 10, 5, 250*time.Millisecond, func(ctx context.Context, _ int, _ time.Time) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if len(got.times) > 0 || got.took > time.Second {
			t.Errorf("nobody is served: got %d done in %s, want none, and an end at the limit", len(got.times), got.took)
		}
	})
}

// served is a shop that answers one connection out of a list.
func served(t *testing.T, answers ...string) (dial func(string, int) (connection, error), asked *[]string) {
	t.Helper()
	asked = &[]string{}
	return func(string, int) (connection, error) {
		here, there := net.Pipe()
		go func() { // ends with the connection
			for in := bufio.NewReader(there); ; {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				*asked = append(*asked, r.Method+" "+r.URL.Path+" "+string(body))
				answer := answers[min(len(*asked), len(answers))-1]
				status, text, _ := strings.Cut(answer, " ")
				fmt.Fprintf(there, "HTTP/1.1 %s x\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
			}
		}()
		return here, nil
	}, asked
}

// A buyer who is told to come back does, as the page would; one that the schedule sent
// does not, since others come behind it.
func TestBuyers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, perSecond := range []float64{0, 10} {
			dial, asked := served(t, `503 {"code":"overloaded"}`, `201 {"id":"0123456789abcdef"}`, `200 {}`)
			crowd := &buyers{dial: dial, list: []*Buyer{{Room: "gig", Seat: "A-1", Pass: "pass"}}}
			d, err := crowd.do(t.Context(), Task{What: toBuy, Count: 1, Connections: 1, PerSecond: perSecond, Span: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{`POST /rooms/gig/holds {"seats":["A-1"]}`}
			if perSecond == 0 {
				want = append(want, want[0], "POST /rooms/gig/holds/0123456789abcdef/confirm ")
			}
			if !slices.Equal(*asked, want) {
				t.Errorf("%v a second: got %q, want %q", perSecond, *asked, want)
			}
			if d.Others["503 overloaded"] != 1 || d.Acts[toHold].N != len(want)/2 || d.Acts[toConfirm].N != len(want)/3 || d.Whole != len(want)/3 {
				t.Errorf("%v a second: got %+v, want one 503 and what came of %q", perSecond, d, want)
			}
		}
	})
}

// The rows of the shop, small, on a real MariaDB: each is printed, and no act of it
// failed.
func TestShopRows(t *testing.T) {
	dsn := testenv.MySQL(t)
	for name, row := range map[string]struct {
		measure func(context.Context, *bench) error
		want    []string
	}{
		"holds":    {measureHolds, []string{shopColumns, "64 callers, 8 rooms of 120 seats", "no errors"}},
		"confirms": {measureConfirms, []string{shopColumns, "one room, 1,000 callers", "no errors"}},
		"open":     {measureOpen, []string{edgeColumns, "| open loop at 1,500 holds"}},
		"closed":   {measureClosed, []string{edgeColumns, "| closed loop of 20 buyers", "p95 of a confirm", "| none |"}},
		"expiry":   {measureExpiry, []string{figureColumns, "| 100 lapsed holds, ended by 3 bookers"}},
		"seatmap":  {measureSeatMap, []string{edgeColumns, "bytes of the map of 400 seats", "beside 4 maps a second"}},
		"flat":     {measureFlat, []string{figureColumns, "with 20,000 admissions and a room of 2,000 seats"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			b := &bench{part: 50, brisk: 10, db: dsn, table: table{out: &out}}
			if err := row.measure(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			for _, want := range row.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %s\nwant %q in it", out.String(), want)
				}
			}
			if strings.Contains(out.String(), "errors**") {
				t.Errorf("got %s\nwant no errors in it", out.String())
			}
		})
	}
}

// A row's database is dropped, also when the row failed.
func TestOnShop(t *testing.T) {
	b := &bench{part: 50, brisk: 10, db: testenv.MySQL(t)}
	bad := errors.New("bad")
	var name string
	if err := onShop(t.Context(), b, func(g *shopGround) error { name = g.name; return bad }); !errors.Is(err, bad) {
		t.Errorf("got %v, want the row's error", err)
	}
	db, err := bare(b.db, "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var left int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", name).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left > 0 {
		t.Errorf("the database %s is still there", name)
	}
}

// The rows of facts and admissions, small, on a real MariaDB and Kafka.
func TestFactRows(t *testing.T) {
	dsn, brokers := testenv.MySQL(t), testenv.Kafka(t)
	for name, row := range map[string]struct {
		measure func(context.Context, *bench) error
		want    []string
	}{
		"facts":    {measureFacts, []string{figureColumns, "| facts out of the table"}},
		"admitted": {measureAdmitted, []string{figureColumns, "into the table, fresh", "into the table, known"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			b := &bench{part: 20, brisk: 10, db: dsn, kafka: brokers, table: table{out: &out}}
			if err := row.measure(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			for _, want := range row.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %s\nwant %q in it", out.String(), want)
				}
			}
		})
	}
}

// What became of a crowd is read out of the words that the shop answers: one seat is
// sold once, and all others hear so.
func TestHotSeatRow(t *testing.T) {
	var out strings.Builder
	b := &bench{part: 20, brisk: 10, db: testenv.MySQL(t), table: table{out: &out}}
	if err := measureHotSeat(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{edgeColumns, "all others 409, met", "| 49 × 409 seat_taken |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s\nwant %q in it", out.String(), want)
		}
	}
}
