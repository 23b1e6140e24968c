package room

import "testing"

func TestStockValid(t *testing.T) {
	for _, s := range []Stock{{}, {Rev: 1}, {Rev: 1, Left: 1}, {Rev: MaxStockRev, Left: 1<<63 - 1}} {
		if err := s.Valid(); err != nil {
			t.Errorf("%+v: got %v", s, err)
		}
	}
	for _, s := range []Stock{{Rev: -1}, {Rev: MaxStockRev + 1}, {Rev: 1, Left: -1}, {Left: 1}} {
		if err := s.Valid(); err == nil {
			t.Errorf("%+v: got no error", s)
		}
	}
}
