package seat

import (
	"errors"
	"math"
	"testing"
)

func TestPrice(t *testing.T) {
	for _, c := range []struct {
		price Price
		good  bool
	}{
		{Price{}, true},
		{Price{1, "KRW"}, true},
		{Price{MaxAmount, "EUR"}, true},
		{Price{MaxAmount + 1, "EUR"}, false},
		{Price{math.MaxInt64, "EUR"}, false},
		{Price{-1, "EUR"}, false},
		{Price{12_000, ""}, false},
		{Price{0, "EUR"}, false},
		{Price{1, "eur"}, false},
		{Price{1, "EU"}, false},
		{Price{1, "EURO"}, false},
		{Price{1, "E1R"}, false},
		{Price{1, "EUR\n"}, false},
		{Price{1, "ÄUR"}, false},
	} {
		if err := c.price.Check(); (err == nil) != c.good || err != nil && !errors.Is(err, ErrPrice) {
			t.Errorf("%+v: got %v, want good %t", c.price, err, c.good)
		}
	}
	if sum := 50 * int64(MaxAmount); sum > 1<<53 {
		t.Errorf("the seats of a hold may cost %d, which is no exact number on the page", sum)
	}
}
