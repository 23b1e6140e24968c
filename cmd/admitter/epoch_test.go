package main

import (
	"strings"
	"testing"

	"waitroom/internal/room"
)

// An operator brings back a line that Redis lost and nobody remembers: the places of its
// visitors are good again, and a line that is there is left alone.
func TestCreateWithAnEpoch(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	rdb, lines := clientOf(t, url), linesOf(t, url)
	_, epoch, _ := run(t, "room", "create", "sale", "--state", "open", "--redis", url)
	epoch = strings.TrimSpace(epoch)
	by := room.Caller{Epoch: room.Epoch(epoch), Process: "p"}
	joined, err := lines.Join(t.Context(), "sale", by, room.Lane{Name: "p-1", Batch: 1}, []room.VisitorID{"AAAAAAAAAAAAAAAA"})
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := run(t, "room", "create", "sale", "--epoch", epoch, "--redis", url); code != 1 || !strings.Contains(errOut, "room_exists") {
		t.Errorf("create over a line that is there: got %d, %q, want room_exists", code, errOut)
	}
	if code, _, errOut := run(t, "room", "create", "sale", "--epoch", "no epoch", "--redis", url); code != 2 || !strings.Contains(errOut, "--epoch") {
		t.Errorf("an epoch of another form: got %d, %q, want 2", code, errOut)
	}
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := run(t, "room", "create", "sale", "--epoch", epoch, "--state", "open", "--title", "Gala", "--actor", "ann", "--redis", url)
	if code != 0 || strings.TrimSpace(out) != epoch {
		t.Fatalf("create: got %d, %q, %q, want the epoch again", code, out, errOut)
	}
	place := room.Place{Visitor: "AAAAAAAAAAAAAAAA", Number: joined.First}
	if stands, err := lines.Rejoin(t.Context(), "sale", by, []room.Place{place}); err != nil || stands[0].Standing != room.Waiting {
		t.Errorf("the visitor: got %v, %v, want it back in line", stands, err)
	}
	if _, out, _ := run(t, "status", "sale", "--acts", "--redis", url); !strings.Contains(out, "ann: recreate") || !strings.Contains(out, "Gala") {
		t.Errorf("status: got %q, want who did it, and the title", out)
	}
}
