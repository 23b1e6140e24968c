package api_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"waitroom/api"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// sources finds the texts of a form in the sources of package events.
func sources(t *testing.T, form string) (list []string) {
	t.Helper()
	files, err := filepath.Glob("../internal/events/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v, want the sources of events", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(form).FindAllStringSubmatch(string(text), -1) {
			list = append(list, found[1])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Every type that package events knows has a schema and stands at its topic, and nothing
// else does; so with the topics and their dead letters.
func TestEveryEventHasASchema(t *testing.T) {
	contract := newLine(t)
	types := sources(t, `"(waitroom\.[a-z_.]+\.v\d+)"`)
	if got := slices.Sorted(slices.Values(api.Schemas())); !slices.Equal(got, types) {
		t.Errorf("got schemas of %q, want %q", got, types)
	}
	var listed []string
	topics := sources(t, `Topic[A-Z]\w* *= "([a-z.]+)"`)
	for _, topic := range topics {
		for _, kind := range contract.Events(topic) {
			if kind != "deleted" { // a record without a value
				listed = append(listed, kind)
			}
		}
		if got := contract.Events(events.DLQ(topic)); !slices.Equal(got, []string{"dead"}) {
			t.Errorf("%s: got %q, want dead letters", events.DLQ(topic), got)
		}
	}
	if slices.Sort(listed); !slices.Equal(listed, types) {
		t.Errorf("got the types %q at topics, want %q", listed, types)
	}
	if got := len(contract.Topics()); got != 2*len(topics) {
		t.Errorf("got %d topics, want %q and their dead letters", got, topics)
	}
}

// Every golden body is one of its schema.
func TestGoldenEvents(t *testing.T) {
	contract := newLine(t)
	const folder = "../internal/events/testdata/"
	for _, name := range names(t, folder+"*.json") {
		kind, _, _ := strings.Cut(name, "_") // sold_out is the one with a dash of its own
		typ := map[string]string{"admitted": events.TypeAdmitted, "confirmed": events.TypeConfirmed, "described": events.TypeDescribed,
			"stock": events.TypeStock, "sold": events.TypeSoldOut}[kind]
		text, err := os.ReadFile(folder + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := contract.Body(typ, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var (
	names63   = rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,62}`)
	epochs    = rapid.StringMatching(`[a-z2-7]{8}`)
	ids       = rapid.StringMatching(`[A-Za-z0-9_-]{16}`)
	seatNames = rapid.StringMatching(`([A-Z0-9]{1,8}-)?[A-Z0-9]{1,8}-[1-9][0-9]{0,3}`)
)

// facts are any that the line and the shop may tell.
func facts(t *rapid.T) events.Record {
	name, epoch := room.Name(names63.Draw(t, "room")), room.Epoch(epochs.Draw(t, "epoch"))
	ms := rapid.Int64Range(1, 1<<42).Draw(t, "ms")
	a := room.Admission{Room: name, Epoch: epoch, Number: room.Number(rapid.Int64Range(1, int64(room.MaxNumber)).Draw(t, "number")), Visitor: room.VisitorID(ids.Draw(t, "visitor"))}
	rev := rapid.Int64Range(1, room.MaxStockRev).Draw(t, "rev")
	switch kind := rapid.SampledFrom([]string{"admitted", "described", "deleted", "stock", events.TypeSoldOut, events.TypeFinished,
		events.TypeHeld, events.TypeConfirmed, events.TypeReleased, events.TypeExpired}).Draw(t, "kind"); kind {
	case "admitted":
		return events.EncodeAdmitted(name, room.Admitted{Visitor: a.Visitor, Number: a.Number, Epoch: epoch, At: time.UnixMicro(ms * 1000)})
	case "described":
		e := room.Event{Title: rapid.StringN(0, room.MaxTitle, -1).Draw(t, "title"), Venue: rapid.StringN(0, room.MaxVenue, -1).Draw(t, "venue")}
		if rapid.Bool().Draw(t, "whole") {
			e.StartsAt = time.UnixMilli(rapid.Int64Range(946_684_800_000, 4_102_444_799_999).Draw(t, "starts")) // 2000 to 2099
			e.Brand = room.Brand{Accent: rapid.StringMatching(`#[0-9a-f]{6}`).Draw(t, "accent"),
				Logo: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, rapid.IntRange(0, room.MaxLogo-8).Draw(t, "logo"))...)}
		}
		return events.EncodeDescribed(name, room.EventRev{Epoch: epoch, CreatedMS: ms, Rev: rev}, e)
	case "deleted":
		return events.Tombstone(name)
	case "stock":
		seats := rapid.Int64Range(0, seat.MaxPerRoom).Draw(t, "seats")
		return events.EncodeStock(events.Stock{Room: name, Epoch: epoch, Rev: rev, Left: rapid.Int64Range(0, seats).Draw(t, "left"), Seats: seats, AtMS: ms})
	case events.TypeSoldOut:
		return events.EncodeBooking(events.Booking{Type: kind, ID: "x", Room: name, Epoch: epoch, StockRev: rapid.SampledFrom([]int64{0, rev}).Draw(t, "stock"), AtMS: ms})
	case events.TypeFinished:
		return events.EncodeBooking(events.Booking{Type: kind, ID: "x", Room: name, Epoch: epoch, Admission: a.String(), AtMS: ms})
	default:
		return events.EncodeBooking(events.Booking{Type: kind, ID: "x", Room: name, Epoch: epoch, Admission: a.String(), Hold: ids.Draw(t, "hold"),
			Seats: []seat.ID{seat.ID(seatNames.Draw(t, "seat"))}, AtMS: ms})
	}
}

// Whatever is told is a record of the contract, and so is its dead letter.
func TestEveryRecordThatIsEncoded(t *testing.T) {
	contract := newLine(t)
	met := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		r := facts(t)
		if err := contract.Record(r); err != nil {
			t.Error(err)
		}
		met[r.Headers["ce_type"]] = true
		r.Offset = 17
		if err := contract.Record(events.DeadLetter(r, errors.New(strings.Repeat("x", 600)))); err != nil {
			t.Error(err)
		}
	})
	for _, kind := range append(api.Schemas(), "") {
		if !met[kind] {
			t.Errorf("no record of type %q was made", kind)
		}
	}
}

// What a booker writes into its outbox, of one sale from the first hold to the last seat.
func TestFactsOfABooker(t *testing.T) {
	contract := newLine(t)
	b := bookingtest.New(t, bookingtest.SQLite(t), 2, nil)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	described := events.EncodeDescribed("gig", room.EventRev{Epoch: bookingtest.Epoch, CreatedMS: 1, Rev: 1}, room.Event{Title: "Gig"})
	do(b.Consume(t.Context(), []events.Record{described}))
	gives, leaves, buys := bookingtest.Pass(), bookingtest.Pass(), bookingtest.Pass()
	do(b.Release(t.Context(), gives, b.MustHold(t, gives, "A-1").ID))
	b.MustHold(t, leaves, "A-1")
	do(b.Leave(t.Context(), leaves))
	_, err := b.Confirm(t.Context(), buys, b.MustHold(t, buys, "A-1 A-2").ID)
	do(err)
	var rows []struct {
		Topic, Headers string
		Key            []byte `db:"msg_key"`
		Payload        []byte
	}
	do(b.DB.SelectContext(t.Context(), &rows, "SELECT topic, headers, msg_key, payload FROM facts ORDER BY id"))
	var told []string
	for _, row := range rows {
		r := events.Record{Topic: row.Topic, Key: row.Key, Value: row.Payload}
		do(json.Unmarshal([]byte(row.Headers), &r.Headers))
		if err := contract.Record(r); err != nil {
			t.Error(err)
		}
		told = append(told, strings.TrimSuffix(strings.TrimPrefix(r.Headers["ce_type"], "waitroom.bookings."), ".v1"))
	}
	for _, kind := range []string{"held", "released", "finished", "confirmed", "stock", "sold_out"} {
		if !slices.Contains(told, kind) {
			t.Errorf("got %q, want %s among them", told, kind)
		}
	}
}

// What the readers call invalid, as far as a schema can say it, the contract does, too.
func TestBadRecordsAreBad(t *testing.T) {
	contract := newLine(t)
	good := events.EncodeStock(events.Stock{Room: "show", Epoch: "abcdefgh", Rev: 412, Left: 7, Seats: 500, AtMS: 1763690000123})
	for name, change := range map[string][2]string{
		"no object": {string(good.Value), `[]`}, "bad room": {`"room":"show"`, `"room":"Show!"`}, "no epoch": {`"epoch":"abcdefgh",`, ``},
		"rev 0": {`"rev":412`, `"rev":0`}, "rev too great": {`"rev":412`, `"rev":9007199254740992`}, "half a rev": {`"rev":412`, `"rev":412.5`},
		"left below 0": {`"left":7`, `"left":-1`}, "names of seats": {`"seats":500`, `"seats":["A-1"]`}, "no time": {`"at_ms":1763690000123`, `"at_ms":0`},
		"a field more": {`{`, `{"price":1,`},
	} {
		r := good
		if r.Value = []byte(strings.Replace(string(good.Value), change[0], change[1], 1)); contract.Record(r) == nil {
			t.Errorf("%s: got %s let through", name, r.Value)
		}
	}
	for name, change := range map[string]func(*events.Record){
		"another key":        func(r *events.Record) { r.Key = []byte("gala") },
		"another topic":      func(r *events.Record) { r.Topic = events.TopicRooms },
		"a type of nobody's": func(r *events.Record) { r.Headers["ce_type"] = "waitroom.bookings.moved.v1" },
		"no id":              func(r *events.Record) { delete(r.Headers, "ce_id") },
		"a header more":      func(r *events.Record) { r.Headers["ce_subject"] = "x" },
	} {
		r := events.EncodeStock(events.Stock{Room: "show", Epoch: "abcdefgh", Rev: 1, Seats: 1, AtMS: 1})
		if change(&r); contract.Record(r) == nil {
			t.Errorf("%s: got it let through", name)
		}
	}
}
