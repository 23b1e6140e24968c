package main

import (
	"slices"
	"testing"

	"waitroom/internal/line"
	"waitroom/internal/room"
)

// An act wakes a room that rests: whoever serves it reads the mark within 100 ms, and its
// pulse a second later only. What changes nothing wakes nobody.
func TestActsMarkTheRoom(t *testing.T) {
	url := redisURL(t)
	rdb, err := line.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	lines := line.New(rdb)
	if code, _, errOut := run(t, "room", "create", "sale", "--redis", url); code != 0 {
		t.Fatal(errOut)
	}
	_, since, err := lines.Busy(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args []string
		mark bool
	}{
		{[]string{"room", "open", "sale"}, true},
		{[]string{"set", "sale", "--rate", "7"}, true},
		{[]string{"set", "sale", "--rate", "7"}, false},
		{[]string{"pause", "sale"}, true},
		{[]string{"resume", "sale"}, true},
		{[]string{"resume", "sale"}, false}, // refused: it is not paused
	} {
		run(t, append(step.args, "--redis", url)...)
		var names []room.Name
		names, since, err = lines.Busy(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(names, "sale"); got != step.mark {
			t.Errorf("%q: got a mark %t, want %t", step.args, got, step.mark)
		}
	}
}
