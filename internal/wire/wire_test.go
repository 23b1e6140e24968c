package wire

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ms(n int64) *int64 { return &n }

// serverMessages are every shape that a server sends; the page's tests read the
// same files.
var serverMessages = map[string][]byte{
	"joined":             Encode(JoinedMessage{Joined, "PLACE", 4711, "abcdefgh", 6000}),
	"position":           AppendPosition(nil, 42, 1234, 60, 90),
	"position_first":     AppendPosition(nil, 1, 1, 0, 5),
	"position_no_eta":    AppendPosition(nil, 42, 1234, -1, 0),
	"admitted":           Encode(AdmittedMessage{Admitted, 120000}),
	"missed":             Encode(PlainMessage{Missed}),
	"spent":              Encode(SpentMessage{Spent, ""}),
	"spent_away":         Encode(SpentMessage{Spent, ReasonAway}),
	"pass":               Encode(PassMessage{Pass, "PASS", 600000, "https://shop.example/rooms/show/shop"}),
	"left":               Encode(PlainMessage{Left}),
	"drain":              Encode(DrainMessage{Drain, 2500}),
	"room_open":          Encode(RoomMessage{Room, room.ShownOpen, "", nil, 6000}),
	"room_opening":       Encode(RoomMessage{Room, room.ShownOpening, "", ms(90000), 6000}),
	"room_paused_notice": Encode(RoomMessage{Room, room.ShownPaused, "Back in <5 min> & soon", nil, 6000}),
	"room_full":          Encode(RoomMessage{Room, room.ShownFull, "", nil, 6000}),
	"room_sold_out":      Encode(RoomMessage{Room, room.ShownSoldOut, "", nil, 6000}),
	"room_closed":        Encode(RoomMessage{Room, room.ShownClosed, "", nil, 6000}),
	"room_stalled":       Encode(RoomMessage{Room, room.ShownStalled, "", nil, 6000}),
	"room_recovering":    Encode(RoomMessage{Room, room.ShownRecovering, "", nil, 6000}),
	"error_place_epoch":  EncodeError(PlaceEpoch),
	"error_unknown_room": EncodeError(UnknownRoom),

	"error_address_limit": EncodeErrorRetry(AddressLimit, 1500*time.Millisecond),
}

func TestServerMessagesAreGolden(t *testing.T) {
	for name, got := range serverMessages {
		path := filepath.Join("testdata", "server", name+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	files, _ := filepath.Glob("testdata/server/*.json")
	if len(files) != len(serverMessages) {
		t.Errorf("got %d golden files for %d messages", len(files), len(serverMessages))
	}
}

func TestVisitorMessagesAreGolden(t *testing.T) {
	want := map[string]Request{
		"join":         {Type: Join},
		"join_place":   {Type: Join, Place: "PLACE"},
		"claim":        {Type: Claim},
		"leave":        {Type: Leave},
		"join_unknown": {Type: Join}, // an unknown field is ignored
	}
	files, _ := filepath.Glob("testdata/visitor/*.json")
	if len(files) != len(want) {
		t.Fatalf("got %d golden files, want %d", len(files), len(want))
	}
	for name, want := range want {
		b, err := os.ReadFile(filepath.Join("testdata", "visitor", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeRequest(b); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	for in, want := range map[string]Code{
		``:                                 BadMessage,
		`[]`:                               BadMessage,
		`{`:                                BadMessage,
		`{"type":1}`:                       BadMessage,
		`{}`:                               UnknownType,
		`{"type":"dance"}`:                 UnknownType,
		`{"type":"position"}`:              UnknownType,
		`{"type":"join","identity":"jwt"}`: Unsupported,
		strings.Repeat(" ", MaxJoin+1):     TooLong,
		`{"type":"claim"}` + strings.Repeat(" ", MaxOther): TooLong,
	} {
		_, err := DecodeRequest([]byte(in))
		var d *DecodeError
		if !errors.As(err, &d) || d.Code != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"type":"join","place":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRequest(b)
		var d *DecodeError
		if err != nil && !errors.As(err, &d) {
			t.Errorf("got %T, want a *DecodeError", err)
		}
		if err == nil && r.Type != Join && r.Type != Claim && r.Type != Leave {
			t.Errorf("got type %q let through", r.Type)
		}
	})
}

func TestAppendPositionIsEncode(t *testing.T) {
	if got, want := AppendPosition(nil, 7, 8, 1, 2), Encode(PositionMessage{Position, 7, 8, &ETA{1, 2}}); string(got) != string(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := AppendPosition(nil, 7, 8, -1, 0), Encode(PositionMessage{Position, 7, 8, nil}); string(got) != string(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	buf := make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() { AppendPosition(buf, 1<<30, 1<<30, 1<<20, 1<<20) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// The page's tests offer the same line.
func TestOfferedPlace(t *testing.T) {
	golden, err := os.ReadFile("testdata/handshake.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{strings.TrimSuffix(string(golden), "\n")}, "PLACE"},
		{nil, ""},
		{[]string{"waitroom.v1"}, ""},
		{[]string{"waitroom.v1,place.a.b.c"}, "a.b.c"},
		{[]string{"place.a.b.c ,\twaitroom.v1"}, "a.b.c"},
		{[]string{"waitroom.v1", " place.a.b.c\t"}, "a.b.c"},
		{[]string{"waitroom.v1, place.first, place.second"}, "first"},
		{[]string{"waitroom.v1, place."}, ""},
		{[]string{"waitroom.v1, place"}, ""},
		{[]string{"waitroom.v1, Place.a"}, ""},
		{[]string{", ,,", ""}, ""},
	} {
		if got := OfferedPlace(http.Header{"Sec-Websocket-Protocol": c.lines}); got != c.want {
			t.Errorf("%q: got %q, want %q", c.lines, got, c.want)
		}
	}
}

// Whoever comes back a part of a millisecond early is refused again.
func TestRetryIsRoundedUp(t *testing.T) {
	for retry, want := range map[time.Duration]string{time.Second: `"retry_ms":1000`, time.Second + 1: `"retry_ms":1001`, 1: `"retry_ms":1`} {
		if got := string(EncodeErrorRetry(AddressLimit, retry)); !strings.Contains(got, want+"}") {
			t.Errorf("%s: got %s, want %s", retry, got, want)
		}
	}
	if got := string(EncodeError(Stalled)); strings.Contains(got, "retry_ms") {
		t.Errorf("got %s, want no time where none is known", got)
	}
}

// The close-code range tells the client what to do, so it must agree with Retry.
func TestCodes(t *testing.T) {
	for code, m := range Codes {
		switch {
		case m.HTTP < 400 || m.HTTP > 599 || m.Text == "":
			t.Errorf("%s: got HTTP %d, text %q", code, m.HTTP, m.Text)
		case m.Close != 0 && (m.Close < 4000 || m.Close > 4999):
			t.Errorf("%s: got close code %d", code, m.Close)
		case m.Close != 0 && (m.Close < 4500) != m.Retry:
			t.Errorf("%s: close code %d and retry %v contradict each other", code, m.Close, m.Retry)
		}
	}
	if got := PassCode(fmt.Errorf("wrapped: %w", &seat.TakenError{Seats: []seat.ID{"A-1"}})); got != SeatTaken {
		t.Errorf("got %s, want %s", got, SeatTaken)
	}
	if got := PassCode(errors.New("anything")); got != Internal {
		t.Errorf("got %s, want %s", got, Internal)
	}
}

// PROTOCOL.md's table is this table.
func TestProtocolNamesEveryCode(t *testing.T) {
	doc, err := os.ReadFile("../../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d{3}) \\| (\\d{4}|–) \\| (yes|no) \\| (.*) \\|$")
	var got, want []string
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		got = append(got, strings.Join(m[1:], " "))
	}
	for code, m := range Codes {
		closeCode, retry := "–", "no"
		if m.Close != 0 {
			closeCode = fmt.Sprint(m.Close)
		}
		if m.Retry {
			retry = "yes"
		}
		want = append(want, fmt.Sprintf("%s %d %s %s %s", code, m.HTTP, closeCode, retry, m.Text))
	}
	sort.Strings(got)
	sort.Strings(want)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("PROTOCOL.md's table differs.\ngot:\n%s\nwant:\n%s", g, w)
	}
}

func TestWriteProblem(t *testing.T) {
	w := httptest.NewRecorder()
	WriteProblem(w, SeatTaken, 0, "A-1", "A-2")
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != 409 || p.Code != SeatTaken || len(p.Seats) != 2 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %+v %v", w.Code, p, w.Header())
	}
	w = httptest.NewRecorder()
	WriteProblem(w, Overloaded, 7)
	if w.Code != 503 || w.Header().Get("Retry-After") != "7" {
		t.Errorf("got %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

func TestAppendJoined(t *testing.T) {
	for _, m := range []JoinedMessage{
		{Type: Joined, Place: "eyJh.eyJ0-_.abc", Number: 1, Epoch: "abcdefgh", BeatMS: 6000},
		{Type: Joined, Number: room.MaxNumber, BeatMS: 10000},
	} {
		if got, want := string(AppendJoined(nil, m)), string(Encode(m)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
