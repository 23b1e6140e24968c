package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/api/apitest"
	"waitroom/internal/hub"
	"waitroom/internal/limit"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// link keeps what a connection would show.
type link struct {
	heard  []string // codes told, then "close" and the close code
	texts  [][]byte // what was told, whole
	within time.Duration
}

func (l *link) TrySend([]byte) bool    { return true }
func (l *link) Within(d time.Duration) { l.within = d }
func (l *link) Close(code wire.Code) {
	l.heard = append(l.heard, fmt.Sprintf("close %d", wire.Codes[code].Close))
}
func (l *link) Send(texts ...[]byte) {
	text := texts[0] // a refusal is one
	l.texts = append(l.texts, text)
	var m struct{ Code wire.Code }
	if err := json.Unmarshal(text, &m); err != nil {
		panic(err)
	}
	l.heard = append(l.heard, string(m.Code))
}

// refuses is a hub and a verifier that refuse everything.
type refuses struct{ join, place error }

func (r *refuses) Join(context.Context, room.Name, hub.Sink) (*hub.Session, error) {
	return nil, r.join
}
func (r *refuses) Return(context.Context, room.Name, room.Epoch, room.Place, hub.Sink) (*hub.Session, error) {
	return nil, r.join
}
func (r *refuses) Full() bool                             { return false }
func (r *refuses) Watch(room.Name, hub.Sink) *hub.Session { return nil }
func (r *refuses) ParsePlace(context.Context, string, room.Name) (token.Place, error) {
	return token.Place{}, r.place
}

// Every way to be refused, each with its code, and what becomes of the connection.
func TestRefusals(t *testing.T) {
	contract, err := apitest.NewLine()
	if err != nil {
		t.Fatal(err)
	}
	join, back := `{"type":"join"}`, `{"type":"join","place":"x"}`
	for _, c := range []struct {
		name string
		r    refuses
		say  string
		want []string
	}{
		{"rubbish", refuses{}, "rubbish", []string{"bad_message", "close 4503"}},
		{"claim first", refuses{}, `{"type":"claim"}`, []string{"not_joined"}},
		{"leave first", refuses{}, `{"type":"leave"}`, []string{"not_joined"}},
		{"closed", refuses{join: room.ErrClosed}, join, []string{"room_closed"}},
		{"deleted", refuses{join: room.ErrDeleted}, join, []string{"room_deleted", "close 4501"}},
		{"away", refuses{join: room.ErrAway}, join, []string{"stalled"}},
		{"a line made anew under a newcomer", refuses{join: room.ErrEpoch}, join, []string{"stalled"}},
		{"a line made anew under a place", refuses{join: room.ErrEpoch}, back, []string{"place_other_epoch", "close 4502"}},
		{"too many joins", refuses{join: room.ErrOverloaded}, join, []string{"overloaded", "close 4002"}},
		{"a bug", refuses{join: errors.New("boom")}, join, []string{"internal", "close 4010"}},
		{"malformed place", refuses{place: token.ErrMalformed}, back, []string{"place_malformed", "close 4502"}},
		{"foreign place", refuses{place: token.ErrForeign}, back, []string{"place_foreign", "close 4502"}},
		{"place of another room", refuses{place: token.ErrOtherRoom}, back, []string{"place_other_room", "close 4502"}},
		{"keys away", refuses{place: token.ErrKeysAway}, back, []string{"stalled"}},
	} {
		// In a bubble no time passes between a message and what it is given until the next.
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := NewDesk(&c.r, &c.r, limit.New(limit.Config{}), prometheus.NewRegistry())
				l := &link{}
				talk := d.Begin("show", netip.Prefix{}, l)
				if l.within != firstWithin {
					t.Errorf("got %s for the first message, want %s", l.within, firstWithin)
				}
				talk.Message(t.Context(), []byte(c.say))
				if !slices.Equal(l.heard, c.want) {
					t.Errorf("got %v, want %v", l.heard, c.want)
				}
				for _, text := range l.texts {
					if err := contract.Frame(apitest.Node, text); err != nil {
						t.Errorf("against api/asyncapi.yaml: %v", err)
					}
				}
				if closes := len(c.want) == 2; talk.Done() != closes {
					t.Errorf("got done %t, want %t", talk.Done(), closes)
				}
				before := len(l.heard)
				if talk.Done() {
					talk.Message(t.Context(), []byte(join))
					talk.Refuse(wire.TooLong)
					talk.Expired()
					if len(l.heard) != before {
						t.Errorf("got %v told after the close", l.heard[before:])
					}
					return
				}
				want := d.Again
				if c.say != join && c.say != back {
					want = firstWithin // what is no join buys no time
				}
				if l.within != want {
					t.Errorf("got %s until it is sent away, want %s", l.within, want)
				}
				talk.Expired()
				if got := l.heard[before:]; !slices.Equal(got, []string{"close 4003"}) {
					t.Errorf("got %v once the time is over, want sent to reconnect", got)
				}
				talk.End()
			})
		})
	}
	d := NewDesk(&refuses{}, &refuses{}, limit.New(limit.Config{}), prometheus.NewRegistry())
	l := &link{}
	if talk := d.Begin("No_Room", netip.Prefix{}, l); !talk.Done() || !slices.Equal(l.heard, []string{"bad_room", "close 4501"}) {
		t.Errorf("an ill-named room: got %v", l.heard)
	}
	l = &link{}
	talk := d.Begin("show", netip.Prefix{}, l)
	if talk.Expired(); !talk.Done() || !slices.Equal(l.heard, []string{"no_join", "close 4003"}) {
		t.Errorf("a silent connection: got %v", l.heard)
	}
}

// The allowance is a burst and a rate, of a clock that never goes back.
func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDesk(&refuses{join: room.ErrClosed}, &refuses{}, limit.New(limit.Config{}), prometheus.NewRegistry())
		l := &link{}
		talk := d.Begin("show", netip.Prefix{}, l)
		say := func() bool { talk.Message(t.Context(), []byte(`{"type":"join"}`)); return !talk.Done() }
		for i := range messageBurst {
			if !say() {
				t.Fatalf("got %v at message %d of the burst", l.heard, i+1)
			}
		}
		for i := range 50 {
			time.Sleep(time.Second / messageRate)
			if !say() {
				t.Fatalf("got %v at message %d of the rate", l.heard, i+1)
			}
		}
		if say() || l.heard[len(l.heard)-2] != "too_fast" {
			t.Errorf("got %v above the rate, want too_fast", l.heard)
		}
	})
}

// A connection that joins and leaves in turn gets no endless numbers: a line has 2^30
// of them for ever.
func TestNumbersAreBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &counts{}
		d := NewDesk(r, r, limit.New(limit.Config{}), prometheus.NewRegistry())
		l := &link{}
		talk := d.Begin("show", netip.Prefix{}, l)
		for range 24 * 3600 * messageRate { // a day of asking as fast as is allowed
			if talk.Done() {
				talk = d.Begin("show", netip.Prefix{}, l)
				break
			}
			talk.Message(t.Context(), []byte(`{"type":"join"}`))
			time.Sleep(time.Second / messageRate)
		}
		if r.joins > numberBurst+1 {
			t.Errorf("got %d numbers taken before it was cut, want at most %d and what a minute gives", r.joins, numberBurst)
		}
		if got := l.heard[len(l.heard)-2:]; !slices.Equal(got, []string{"too_fast", "close 4503"}) {
			t.Errorf("got %v, want too_fast", got)
		}
		// Slowly, for ever: who changes his mind once a minute is served.
		r.joins = 0
		for range 500 {
			time.Sleep(numberEvery)
			talk.Message(t.Context(), []byte(`{"type":"join"}`))
		}
		if r.joins != 500 || talk.Done() {
			t.Errorf("got %d of 500 joins, one a minute", r.joins)
		}
		// A return takes no number.
		for range 50 {
			time.Sleep(time.Second)
			talk.Message(t.Context(), []byte(`{"type":"join","place":"x"}`))
		}
		if talk.Done() {
			t.Error("got a return counted as a new number")
		}
	})
}

// counts gives numbers and never a session: what matters is how often it is asked.
type counts struct {
	refuses
	joins int
}

func (c *counts) Join(context.Context, room.Name, hub.Sink) (*hub.Session, error) {
	c.joins++
	return nil, nil
}

func (c *counts) ParsePlace(context.Context, string, room.Name) (token.Place, error) {
	return token.Place{}, token.ErrKeysAway
}

// A conversation keeps the room's name, not the request that it stood in.
func TestRoomNameStandsAlone(t *testing.T) {
	request := "/rooms/show/ws?" + strings.Repeat("x", 15_000)
	d := NewDesk(&refuses{}, &refuses{}, limit.New(limit.Config{}), prometheus.NewRegistry())
	talk := d.Begin(request[7:11], netip.Prefix{}, &link{})
	from, to := uintptr(unsafe.Pointer(unsafe.StringData(request))), uintptr(unsafe.Pointer(unsafe.StringData(string(talk.room))))
	if talk.room != "show" || to >= from && to < from+uintptr(len(request)) {
		t.Errorf("got %q inside the request line: it keeps %d bytes alive", talk.room, len(request))
	}
}

// What is no join buys no time: a claim a minute does not hold a connection for ever.
func TestOnlyAJoinBuysTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDesk(&refuses{join: room.ErrRecovering}, &refuses{}, limit.New(limit.Config{}), prometheus.NewRegistry())
		l := &link{}
		talk := d.Begin("show", netip.Prefix{}, l)
		check := func(say string, want time.Duration) {
			t.Helper()
			talk.Message(t.Context(), []byte(say))
			if l.within != want {
				t.Errorf("after %s: got %s, want %s", say, l.within, want)
			}
		}
		time.Sleep(2 * time.Second)
		check(`{"type":"claim"}`, firstWithin-2*time.Second)
		check(`{"type":"join"}`, d.Again)
		time.Sleep(10 * time.Second)
		check(`{"type":"leave"}`, d.Again-10*time.Second)
		check(`{"type":"join"}`, d.Again)
	})
}

// A join that got no number costs its address none.
func TestRefusedJoinsCostNoPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &refuses{join: room.ErrFull}
		d := NewDesk(r, r, limit.New(limit.Config{Joins: 1, JoinsBurst: 2, Private: true}), prometheus.NewRegistry())
		l := &link{}
		talk := d.Begin("show", netip.MustParsePrefix("203.0.113.7/32"), l)
		for range 5 {
			talk.Message(t.Context(), []byte(`{"type":"join"}`))
		}
		if !slices.Equal(l.heard, []string{"room_full", "room_full", "room_full", "room_full", "room_full"}) {
			t.Errorf("got %v at a full room, want room_full each time", l.heard)
		}
		given := &counts{}
		d.hub, l.heard = given, nil
		for range 3 {
			talk.Message(t.Context(), []byte(`{"type":"join"}`))
		}
		if given.joins != 2 || !slices.Equal(l.heard, []string{"address_limit"}) {
			t.Errorf("got %d joins and %v, want the burst of 2, then address_limit", given.joins, l.heard)
		}
	})
}
