package events

import (
	"errors"
	"strings"
	"testing"

	"waitroom/internal/room"
)

var stock = Stock{Room: "show", Epoch: "abcdefgh", Rev: 412, Left: 7, Seats: 500, AtMS: 1763690000123}

func TestGoldenStock(t *testing.T) {
	golden(t, "stock.json", EncodeStock(stock).Value)
	none := stock
	none.Rev, none.Left = 413, 0
	golden(t, "stock_none_left.json", EncodeStock(none).Value)
}

func TestStockRoundTrip(t *testing.T) {
	for _, want := range []Stock{
		stock,
		{Room: "show", Epoch: "abcdefgh", Rev: 1, AtMS: 1},
		{Room: room.Name(strings.Repeat("a", 63)), Epoch: "abcdefgh", Rev: room.MaxStockRev, Left: 1<<63 - 1, Seats: 1<<63 - 1, AtMS: 1<<63 - 1},
	} {
		r := EncodeStock(want)
		got, err := DecodeStock(r.Headers, r.Value)
		want.ID = got.ID
		if err != nil || got != want || got.ID == "" || r.Headers["ce_id"] != got.ID || len(r.Value) > MaxStock/2 {
			t.Errorf("got %+v, %v, ce_id %s, %d bytes, want %+v", got, err, r.Headers["ce_id"], len(r.Value), want)
		}
		if r.Topic != TopicBookings || string(r.Key) != string(want.Room) || r.Headers["ce_partitionkey"] != string(want.Room) {
			t.Errorf("got topic %s, key %s, headers %v, want it keyed by room", r.Topic, r.Key, r.Headers)
		}
	}
	// A repeat is absorbed by its id, and a newer one is none.
	again, newer := stock, stock
	again.AtMS++
	newer.Rev++
	if EncodeStock(again).Headers["ce_id"] != EncodeStock(stock).Headers["ce_id"] || EncodeStock(newer).Headers["ce_id"] == EncodeStock(stock).Headers["ce_id"] {
		t.Error("want one id for each rev")
	}
}

func TestStockInvalid(t *testing.T) {
	good := EncodeStock(stock)
	for name, change := range map[string][2]string{
		"no json":         {`{`, ``},
		"no object":       {string(good.Value), `[]`},
		"no id":           {`"id":"show.abcdefgh.412.waitroom.bookings.stock.v1"`, `"id":""`},
		"bad room":        {`"room":"show"`, `"room":"Show!"`},
		"no epoch":        {`"epoch":"abcdefgh",`, ``},
		"no rev":          {`"rev":412,`, ``},
		"rev 0":           {`"rev":412`, `"rev":0`},
		"rev below 0":     {`"rev":412`, `"rev":-1`},
		"rev too great":   {`"rev":412`, `"rev":9007199254740992`},
		"rev of 20 nines": {`"rev":412`, `"rev":99999999999999999999`},
		"half a rev":      {`"rev":412`, `"rev":412.5`},
		"left below 0":    {`"left":7`, `"left":-1`},
		"left above all":  {`"left":7`, `"left":501`},
		"seats below 0":   {`"left":7,"seats":500`, `"left":0,"seats":-1`},
		"names of seats":  {`"seats":500`, `"seats":["A-1"]`},
		"no time":         {`"at_ms":1763690000123`, `"at_ms":0`},
		"too long":        {`{`, `{"more":"` + strings.Repeat("x", MaxStock) + `",`},
	} {
		value := strings.Replace(string(good.Value), change[0], change[1], 1)
		if value == string(good.Value) {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := DecodeStock(good.Headers, []byte(value)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	for _, headers := range []map[string]string{nil, {"ce_type": TypeSoldOut}} {
		if _, err := DecodeStock(headers, good.Value); !errors.Is(err, ErrInvalid) {
			t.Errorf("headers %v: got %v, want ErrInvalid", headers, err)
		}
	}
	// What a newer version adds is passed over.
	more := strings.Replace(string(good.Value), `{`, `{"more":{"a":[1]},`, 1)
	if got, err := DecodeStock(good.Headers, []byte(more)); err != nil || got.Left != 7 {
		t.Errorf("with a field more: got %+v, %v", got, err)
	}
}

func FuzzDecodeStock(f *testing.F) {
	f.Add(EncodeStock(stock).Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := DecodeStock(map[string]string{"ce_type": TypeStock}, value)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
			return
		}
		r := EncodeStock(s)
		if again, err := DecodeStock(r.Headers, r.Value); err != nil || again.Rev != s.Rev || again.Left != s.Left {
			t.Errorf("got %+v, %v of what was read as %+v", again, err, s)
		}
	})
}
