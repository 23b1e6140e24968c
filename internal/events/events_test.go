package events

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

var update = flag.Bool("update", false, "write the golden files anew")

const admission = "show.abcdefgh.7.AAAAAAAAAAAAAAAA"

var booking = Booking{Type: TypeConfirmed, ID: "f1", Room: "show", Epoch: "abcdefgh", Admission: admission,
	Hold: "BBBBBBBBBBBBBBBB", Seats: []seat.ID{"A-1", "A-2"}, AtMS: 1763690000123}

func admitted() Record {
	return EncodeAdmitted("show", room.Admitted{Visitor: "AAAAAAAAAAAAAAAA", Number: 7, Epoch: "abcdefgh", At: time.UnixMicro(1763690000123456)})
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
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

func TestGolden(t *testing.T) {
	golden(t, "admitted.json", admitted().Value)
	golden(t, "confirmed.json", EncodeBooking(booking).Value)
	golden(t, "sold_out.json", EncodeBooking(Booking{Type: TypeSoldOut, ID: "f2", Room: "show", Epoch: "abcdefgh", AtMS: 1}).Value)
	golden(t, "sold_out_stock.json", EncodeBooking(Booking{Type: TypeSoldOut, ID: "f3", Room: "show", Epoch: "abcdefgh", StockRev: 412, AtMS: 1}).Value)
}

func TestRoundTrip(t *testing.T) {
	r := admitted()
	a, err := DecodeAdmitted(r.Headers, r.Value)
	if err != nil || a.ID != admission || a.AdmittedAtUS != 1763690000123456 || string(r.Key) != "AAAAAAAAAAAAAAAA" {
		t.Errorf("got %+v, %v, key %s", a, err, r.Key)
	}
	r = EncodeBooking(booking)
	b, err := DecodeBooking(r.Headers, r.Value)
	if err != nil || !reflect.DeepEqual(b, booking) || string(r.Key) != "AAAAAAAAAAAAAAAA" {
		t.Errorf("got %+v, %v, want %+v", b, err, booking)
	}
	r = EncodeBooking(Booking{Type: TypeSoldOut, ID: "f", Room: "show", Epoch: "abcdefgh", StockRev: 412})
	if b, err := DecodeBooking(r.Headers, r.Value); err != nil || b.StockRev != 412 {
		t.Errorf("sold_out: got %+v, %v, want stock_rev 412", b, err)
	}
	if string(r.Key) != "show" {
		t.Errorf("sold_out: got key %s, want the room", r.Key)
	}
}

func TestInvalid(t *testing.T) {
	good := admitted()
	for name, value := range map[string]string{
		"no json":         `{`,
		"no id":           `{}`,
		"other number":    strings.Replace(string(good.Value), `"number":7`, `"number":8`, 1),
		"other room":      strings.Replace(string(good.Value), `"room":"show"`, `"room":"gala"`, 1),
		"no time":         strings.Replace(string(good.Value), `1763690000123456`, `0`, 1),
		"leading zero":    strings.Replace(string(good.Value), `.7.`, `.07.`, 1),
		"short visitor":   strings.ReplaceAll(string(good.Value), `AAAAAAAAAAAAAAAA`, `AAAA`),
		"wrong json kind": `[]`,
	} {
		if _, err := DecodeAdmitted(good.Headers, []byte(value)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := DecodeAdmitted(map[string]string{"ce_type": "other"}, good.Value); !errors.Is(err, ErrInvalid) {
		t.Errorf("other type: got %v, want ErrInvalid", err)
	}
	b := EncodeBooking(booking)
	for name, change := range map[string][2]string{
		"other epoch":  {`"epoch":"abcdefgh"`, `"epoch":"hgfedcba"`},
		"no id":        {`"id":"f1"`, `"id":""`},
		"no admission": {admission, ""},
	} {
		if _, err := DecodeBooking(b.Headers, []byte(strings.Replace(string(b.Value), change[0], change[1], 1))); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	for _, rev := range []int64{-1, room.MaxStockRev + 1} {
		r := EncodeBooking(Booking{Type: TypeSoldOut, ID: "f", Room: "show", Epoch: "abcdefgh", StockRev: rev})
		if _, err := DecodeBooking(r.Headers, r.Value); !errors.Is(err, ErrInvalid) {
			t.Errorf("stock_rev %d: got %v, want ErrInvalid", rev, err)
		}
	}
	if _, err := DecodeBooking(map[string]string{}, b.Value); !errors.Is(err, ErrInvalid) {
		t.Errorf("no type: got %v, want ErrInvalid", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(admitted().Value)
	f.Add(EncodeBooking(booking).Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		if a, err := DecodeAdmitted(map[string]string{"ce_type": TypeAdmitted}, value); err == nil && !strings.HasPrefix(a.ID, string(a.Room)+".") {
			t.Errorf("got id %q of room %q let through", a.ID, a.Room)
		} else if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
		if _, err := DecodeBooking(map[string]string{"ce_type": TypeFinished}, value); err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	})
}
