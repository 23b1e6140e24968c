package seat

import (
	"errors"
	"slices"
	"testing"
)

func TestGenerate(t *testing.T) {
	ids, err := Generate(5, 2)
	if want := []ID{"A-1", "A-2", "B-1", "B-2", "C-1"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %v, %v, want %v", ids, err, want)
	}
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 701: "ZZ", 702: "AAA"} {
		if got := Row(i); got != want {
			t.Errorf("Row(%d): got %s, want %s", i, got, want)
		}
	}
	ids, err = Generate(MaxPerRoom, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := ParseID(string(id)); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	for _, c := range [][2]int{{0, 1}, {1, 0}, {MaxPerRoom + 1, 10}, {100_000, 1}} {
		if _, err := Generate(c[0], c[1]); err == nil {
			t.Errorf("Generate(%d, %d): got nil, want an error", c[0], c[1])
		}
	}
}

func TestAsk(t *testing.T) {
	got, err := Ask([]string{"B-1", "A-2"}, 2)
	if err != nil || !slices.Equal(got, []ID{"A-2", "B-1"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, c := range []struct {
		seats []string
		want  error
	}{{nil, ErrNone}, {[]string{"A-1", "A-2", "A-3"}, ErrTooMany}, {[]string{"A-1", "A-1"}, ErrTwice}, {[]string{"a-1"}, ErrID}, {[]string{"A-0"}, ErrID}} {
		if _, err := Ask(c.seats, 2); !errors.Is(err, c.want) {
			t.Errorf("%v: got %v, want %v", c.seats, err, c.want)
		}
	}
	if !errors.Is(&TakenError{}, ErrTaken) {
		t.Error("TakenError is no ErrTaken")
	}
	if _, err := ParseHoldID(string(NewHoldID())); err != nil {
		t.Error(err)
	}
}
