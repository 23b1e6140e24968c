package seat

import (
	"errors"
	"slices"
	"strings"
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

func TestCompare(t *testing.T) {
	want := []ID{"A-1", "A-2", "A-10", "B-1", "Z-3", "AA-1", "AA-2", "AB-1", "AAA-1", "N-A-1", "N-A-10", "N-B-2", "N2-A-1"}
	got := slices.Clone(want)
	slices.Sort(got) // by letters: A-10 before A-2
	slices.SortFunc(got, Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What a person writes is found; one wrong character or two the wrong way round is not.
func TestReference(t *testing.T) {
	for range 200 {
		r := NewReference()
		for _, written := range []string{r, strings.ToLower(r), r[:4] + "-" + r[4:], " " + r[:3] + " " + r[3:], strings.NewReplacer("1", "l", "0", "O").Replace(r)} {
			if got, err := ParseReference(written); err != nil || got != r {
				t.Errorf("%q: got %q, %v, want %s", written, got, err, r)
			}
		}
		for i := range r {
			for _, c := range referenceAlphabet {
				wrong := r[:i] + string(c) + r[i+1:]
				if _, err := ParseReference(wrong); (err == nil) != (wrong == r) {
					t.Fatalf("%s for %s: got %v", wrong, r, err)
				}
			}
			if i > 0 && r[i] != r[i-1] {
				wrong := r[:i-1] + string(r[i]) + string(r[i-1]) + r[i+1:]
				if _, err := ParseReference(wrong); err == nil {
					t.Fatalf("%s for %s: two changed places and nobody saw", wrong, r)
				}
			}
		}
	}
	for _, bad := range []string{"", "1234567", "123456789", "UUUUUUUU", "ÄÄÄÄ"} {
		if _, err := ParseReference(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}
