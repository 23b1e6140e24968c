package events

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
)

var (
	gala = room.Event{Title: "Gala <Ω>", Venue: "Hall 1", StartsAt: time.UnixMilli(1_900_000_000_123).UTC(), Rev: 3,
		Brand: room.Brand{Accent: "#1c6b5f", Logo: []byte("\x89PNG\r\n\x1a\n\x00\xff")}}
	third = room.EventRev{Epoch: "abcdefgh", CreatedMS: 1763690000123, Rev: 3}
)

func TestDescribedGolden(t *testing.T) {
	golden(t, "described.json", EncodeDescribed("show", third, gala).Value)
	golden(t, "described_empty.json", EncodeDescribed("show", room.EventRev{Epoch: "abcdefgh"}, room.Event{}).Value)
}

func TestDescribedRoundTrip(t *testing.T) {
	for _, want := range []struct {
		rev   room.EventRev
		event room.Event
	}{{third, gala}, {room.EventRev{Epoch: "abcdefgh"}, room.Event{}}} {
		r := EncodeDescribed("show", want.rev, want.event)
		d, deleted, err := DecodeDescribed(r)
		if err != nil || deleted || string(r.Key) != "show" || d.Room != "show" {
			t.Fatalf("got %+v, deleted %v, %v, key %s", d, deleted, err, r.Key)
		}
		if got := (room.EventRev{Epoch: d.Epoch, CreatedMS: d.CreatedMS, Rev: d.Rev}); got != want.rev {
			t.Errorf("got %+v, want %+v", got, want.rev)
		}
		if got := d.Event(); !reflect.DeepEqual(got, want.event) {
			t.Errorf("got %+v, want %+v", got, want.event)
		}
		if r.Headers["ce_type"] != TypeDescribed || !strings.HasPrefix(r.Headers["ce_id"], "show.abcdefgh.") {
			t.Errorf("got headers %v", r.Headers)
		}
	}
	r := Tombstone("show")
	if d, deleted, err := DecodeDescribed(r); err != nil || !deleted || d.Room != "show" || r.Value != nil {
		t.Errorf("tombstone %+v: got %+v, deleted %v, %v", r, d, deleted, err)
	}
}

// The longest event there can be stays below the bound of a record.
func TestDescribedBound(t *testing.T) {
	// < takes six bytes in JSON, the most of what a title may have.
	long := room.Event{Title: strings.Repeat("<", room.MaxTitle), Venue: strings.Repeat("\u2028", room.MaxVenue), StartsAt: gala.StartsAt,
		Brand: room.Brand{Accent: "#1c6b5f", Logo: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, room.MaxLogo-8)...)}}
	if err := long.Valid(); err != nil {
		t.Fatal(err)
	}
	r := EncodeDescribed(room.Name(strings.Repeat("x", 63)), third, long)
	if _, _, err := DecodeDescribed(r); err != nil || len(r.Value) > MaxDescribed {
		t.Errorf("got %d bytes, %v, want at most %d", len(r.Value), err, MaxDescribed)
	}
}

func TestDescribedInvalid(t *testing.T) {
	good := EncodeDescribed("show", third, gala)
	for name, change := range map[string][2]string{
		"no json":        {`{"room"`, `{room`},
		"other room":     {`"room":"show"`, `"room":"gala"`},
		"no epoch":       {`"epoch":"abcdefgh"`, `"epoch":""`},
		"rev below 0":    {`"rev":3`, `"rev":-3`},
		"no time":        {`"starts_at":"2030`, `"starts_at":"20xx`},
		"no colour":      {`#1c6b5f`, `red;}`},
		"logo of a kind": {`"logo":"`, `"logo":"AAAA`},
		"logo no base64": {`"logo":"`, `"logo":"!`},
		"two lines":      {`Hall 1`, `Hall\n1`},
		"too long":       {`Hall 1`, strings.Repeat("x", MaxDescribed)},
	} {
		r := good
		r.Value = []byte(strings.Replace(string(good.Value), change[0], change[1], 1))
		if string(r.Value) == string(good.Value) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, _, err := DecodeDescribed(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	for _, key := range []string{"", "Show", "other"} {
		r := good
		r.Key = []byte(key)
		if _, _, err := DecodeDescribed(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("key %q: got %v, want ErrInvalid", key, err)
		}
	}
	r := good
	r.Headers = map[string]string{"ce_type": "waitroom.rooms.described.v2"}
	if _, _, err := DecodeDescribed(r); !errors.Is(err, ErrInvalid) {
		t.Errorf("another type: got %v, want ErrInvalid", err)
	}
}

func FuzzDecodeDescribed(f *testing.F) {
	good := EncodeDescribed("show", third, gala)
	f.Add(good.Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		r := good
		r.Value = value
		d, deleted, err := DecodeDescribed(r)
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Errorf("got %v, want ErrInvalid", err)
		case err == nil && !deleted && d.Event().Valid() != nil:
			t.Errorf("got %+v let through", d)
		}
	})
}
