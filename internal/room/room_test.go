package room

import (
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	for s, ok := range map[string]bool{"a": true, "show-2026": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "A": false, "a}b": false, "a.b": false, strings.Repeat("a", 64): false, "a\n": false} {
		if _, err := ParseName(s); (err == nil) != ok {
			t.Errorf("ParseName(%q): got %v, want ok %v", s, err, ok)
		}
	}
	if _, err := ParseVisitorID(string(NewVisitorID())); err != nil {
		t.Errorf("a new visitor id does not parse: %v", err)
	}
	if _, err := ParseEpoch(string(NewEpoch())); err != nil {
		t.Errorf("a new epoch does not parse: %v", err)
	}
	a := Admission{"show", NewEpoch(), 12, NewVisitorID()}
	if got, err := ParseAdmission(a.String()); err != nil || got != a {
		t.Errorf("got %+v, %v, want %+v", got, err, a)
	}
}

func TestRate(t *testing.T) {
	for s, want := range map[string]Rate{"200": 200_000, "7.333": 7_333, "0.001": 1, "1000000": MaxRate,
		"0": 0, "": 0, "-1": 0, "1e3": 0, "1.2345": 0, "1000000.001": 0, "NaN": 0} {
		got, err := ParseRate(s)
		if (want == 0) != (err != nil) || (err == nil && got != want) {
			t.Errorf("ParseRate(%q): got %d, %v, want %d", s, got, err, want)
		}
	}
	for r, want := range map[Rate]int64{1: 2, 20_000: 2, 20_001: 3, 50_000: 5, 200_000: 20, 200_001: 21, MaxRate: 100_000} {
		if got := r.MinBurst(); got != want {
			t.Errorf("Rate(%d).MinBurst: got %d, want %d", r, got, want)
		}
	}
}

func TestShown(t *testing.T) {
	now := time.UnixMilli(1000)
	base := Conf{State: Open, MaxWaiting: 10}
	with := func(f func(*Conf)) Conf { c := base; f(&c); return c }
	for _, c := range []struct {
		conf    Conf
		waiting int64
		want    Shown
	}{
		{base, 9, ShownOpen},
		{base, 10, ShownFull},
		{with(func(c *Conf) { c.State = Opening }), 0, ShownOpening},
		{with(func(c *Conf) { c.State = Opening; c.OpensAt = now.Add(1) }), 0, ShownOpening},
		{with(func(c *Conf) { c.State = Opening; c.OpensAt = now }), 0, ShownOpen},
		{with(func(c *Conf) { c.State = Paused }), 10, ShownPaused},
		{with(func(c *Conf) { c.State = Paused; c.SoldOut = true }), 0, ShownSoldOut},
		{with(func(c *Conf) { c.State = Closed; c.SoldOut = true }), 0, ShownClosed},
	} {
		if got := c.conf.Shown(c.waiting, now); got != c.want {
			t.Errorf("%+v, %d waiting: got %s, want %s", c.conf, c.waiting, got, c.want)
		}
	}
}

func TestConfValid(t *testing.T) {
	if err := DefaultConf().Valid(); err != nil {
		t.Errorf("the default: got %v", err)
	}
	bad := Conf{Rate: 0, Burst: 0, MaxActive: 0, MaxWaiting: 0, State: "ajar", Notice: strings.Repeat("x", 281), ShopURL: "javascript:1"}
	err := bad.Valid()
	if err == nil {
		t.Fatal("got nil, want every value reported")
	}
	for _, word := range []string{"rate", "burst", "max-active", "max-waiting", "claim", "pass", "grace", "state", "notice", "shop url"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got %q, want %q among it", err, word)
		}
	}
	for s, ok := range map[string]bool{"": true, "/shop": true, "https://x.example/y": true, "//evil": false, "http://": false,
		"https://x/#f": false, "https://u@x/": false, "data:x": false} {
		if err := ValidShopURL(s); (err == nil) != ok {
			t.Errorf("ValidShopURL(%q): got %v, want ok %v", s, err, ok)
		}
	}
}
