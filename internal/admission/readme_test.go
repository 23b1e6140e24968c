package admission

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// documented is the record that README.md tells a shop of one's own to produce:
// the block behind its mark, header lines, an empty line, the body.
func documented(t *testing.T) events.Record {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "<!-- the finished record -->\n```text\n")
	block, _, ok2 := strings.Cut(rest, "```\n")
	head, body, ok3 := strings.Cut(block, "\n\n")
	if !ok || !ok2 || !ok3 {
		t.Fatal("README.md has no block of the finished record")
	}
	r := events.Record{Value: []byte(strings.TrimSpace(body)), Headers: map[string]string{}}
	for line := range strings.Lines(head + "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case !ok:
			t.Fatalf("line %q of the record: want name: value", line)
		case name == "topic":
			r.Topic = value
		case name == "key":
			r.Key = []byte(value)
		default:
			r.Headers[name] = value
		}
	}
	return r
}

// The documented record frees the slot that it names, also when it comes twice,
// and is what a booker writes itself.
func TestReadmesFinishedRecord(t *testing.T) {
	r := documented(t)
	var body struct {
		ID, Admission string
		AtMS          int64 `json:"at_ms"`
	}
	if err := json.Unmarshal(r.Value, &body); err != nil {
		t.Fatal(err)
	}
	a, err := room.ParseAdmission(body.Admission)
	if err != nil {
		t.Fatal(err)
	}

	w := newWorld()
	w.create(a.Room, a.Epoch)
	l := w.lines[a.Room]
	l.seq, l.active = a.Number, map[room.VisitorID]bool{a.Visitor: true}
	s := factsService(t, w, w)
	for range 2 {
		if v := s.Facts(t.Context(), []events.Record{r}); v[0].Fate != events.Done {
			t.Fatalf("the admitter on README's record: got %+v", v[0])
		}
	}
	if l.active[a.Visitor] {
		t.Error("the slot is still taken")
	}
	if got := len(w.sent); got != 0 {
		t.Errorf("got %d records set aside, want none", got)
	}

	own := events.EncodeBooking(events.Booking{Type: events.TypeFinished, ID: body.ID, Room: a.Room, Epoch: a.Epoch,
		Admission: body.Admission, AtMS: body.AtMS})
	var want, got map[string]any
	if err := json.Unmarshal(own.Value, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(r.Value, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("body: got %s, %v, want %s", r.Value, err, own.Value)
	}
	if at := time.UnixMilli(body.AtMS).UTC().Format(time.RFC3339Nano); r.Headers["ce_time"] != at {
		t.Errorf("ce_time: got %s, want at_ms, %s", r.Headers["ce_time"], at)
	}
	if r.Topic != own.Topic || string(r.Key) != string(own.Key) || !maps.Equal(r.Headers, own.Headers) {
		t.Errorf("got topic %s, key %s, headers %v, want %s, %s, %v", r.Topic, r.Key, r.Headers, own.Topic, own.Key, own.Headers)
	}
	// What the admitter cannot do without, as the text says.
	for _, header := range []string{"ce_type"} {
		bare := r
		bare.Headers = maps.Clone(r.Headers)
		delete(bare.Headers, header)
		if _, err := events.DecodeBooking(bare.Headers, bare.Value); err == nil {
			t.Errorf("without %s: got it accepted", header)
		}
	}
	only := r
	only.Headers = map[string]string{"ce_type": r.Headers["ce_type"]}
	if _, err := events.DecodeBooking(only.Headers, only.Value); err != nil {
		t.Errorf("with ce_type alone: got %v, want it accepted", err)
	}
}
