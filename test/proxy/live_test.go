package proxy

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
)

const (
	// showLimit is the promise of the map: a change shows within it.
	showLimit = time.Second
	// goneLimit is how soon a booker notices a visitor who left: before its next beat
	// would tell it.
	goneLimit = 3 * time.Second
	// beatLimit is the beat of a live map, and a second for the way: a proxy that keeps
	// it back for longer has pages that believe the stream dead.
	beatLimit = 6 * time.Second
)

// What a buyer does shows on another's live map through each proxy as it stands in the
// README, at once and not when a buffer is full, the beat of a silent one too; and whoever
// leaves takes the stream with them.
func TestLiveMaps(t *testing.T) {
	if built == "" {
		t.Skip("runs the built binaries behind nginx and Caddy: WAITROOM_E2E=1 is not set")
	}
	f := open(t)
	for _, proxy := range []struct {
		name  string
		start func(*testing.T, *fleet, func(string) string) string
	}{{"nginx", nginx}, {"caddy", caddy}} {
		t.Run(proxy.name, func(t *testing.T) { // one by one: the booker counts the streams of both
			c := newClient(t, proxy.start(t, f, func(s string) string { return s }))
			pass, buyer := f.pass(t), f.pass(t)
			answer := c.call(t, "GET", "live", pass, "", 200)
			lines := make(chan string)
			go func() { // ends with the answer's body
				defer close(lines)
				for s := bufio.NewScanner(answer.Body); s.Scan(); {
					lines <- s.Text()
				}
			}()
			hears := func(what string, limit time.Duration) time.Duration {
				t.Helper()
				began, late := time.Now(), time.After(startLimit)
				for {
					select {
					case line, ok := <-lines:
						if !ok {
							t.Fatalf("got the end of the stream, want %s", what)
						}
						if strings.Contains(line, what) {
							took := time.Since(began)
							if took > limit {
								t.Errorf("heard %s after %v, want it within %v", what, took, limit)
							}
							return took
						}
					case <-late:
						t.Fatalf("did not hear %s within %v", what, startLimit)
					}
				}
			}
			hears(`"seats":"ffff`, showLimit)
			f.streams(t, 1, goneLimit)
			for range 3 {
				var hold struct{ ID string }
				b, err := io.ReadAll(c.call(t, "POST", "holds", buyer, `{"seats":["A-2"]}`, 201).Body)
				if err == nil {
					err = json.Unmarshal(b, &hold)
				}
				if err != nil {
					t.Fatal(err)
				}
				held := hears(`"changes":{"h":[1]}`, showLimit)
				c.call(t, "DELETE", "holds/"+hold.ID, buyer, "", 204)
				t.Logf("a hold shows after %v, its end after %v", held, hears(`"changes":{"f":[1]}`, showLimit))
			}
			hears(": beat", beatLimit)
			answer.Body.Close()
			f.streams(t, 0, goneLimit)
			for range lines { // the reader's end
			}
		})
	}
}

// pass lets a new visitor into the room "hall".
func (f *fleet) pass(t *testing.T) string {
	t.Helper()
	pass, err := f.keys.Pass(room.Admission{Room: "hall", Epoch: room.NewEpoch(), Number: 1, Visitor: room.NewVisitorID()}, time.Now().Add(5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return pass
}

// call asks the shop of "hall". The answer's body is closed with the test.
func (c *client) call(t *testing.T, method, path, pass, body string, status int) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.base+"/tickets/rooms/hall/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+pass)
	answer, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != status {
		b, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s %s: got %d %.200q, want %d", method, path, answer.StatusCode, b, status)
	}
	return answer
}

// streams waits until the booker has so many live maps open.
func (f *fleet) streams(t *testing.T, want int, limit time.Duration) {
	t.Helper()
	line := "waitroom_booker_map_streams " + string(rune('0'+want)) + "\n"
	began, text := time.Now(), ""
	await(t, "the booker has "+line, func() bool {
		answer, err := http.Get("http://" + f.bookerOps + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		b, _ := io.ReadAll(answer.Body)
		text = string(b)
		return strings.Contains(text, line)
	})
	if took := time.Since(began); took > limit {
		t.Errorf("the booker has %d live maps after %v, want it within %v", want, took, limit)
	}
}
