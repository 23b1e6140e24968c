package bot_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"waitroom/internal/bot"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	epoch   = room.Epoch("abcdefgh")
	visitor = room.VisitorID("AAAAAAAAAAAAAAAA")
)

func jwt(claims map[string]any) string {
	b, _ := json.Marshal(claims)
	return "h." + base64.RawURLEncoding.EncodeToString(b) + ".s"
}

func place(n int) string { return jwt(map[string]any{"visitor": visitor, "number": n}) }

func joined(n int) any {
	return wire.JoinedMessage{Type: wire.Joined, Place: place(n), Number: room.Number(n), Epoch: epoch}
}

func position(p int) any {
	return wire.PositionMessage{Type: wire.Position, Position: room.Position(p), Waiting: 9}
}

func state(s room.Shown) any { return wire.RoomMessage{Type: wire.Room, State: s} }

func plain(t wire.Type) any { return wire.PlainMessage{Type: t} }

func refusal(c wire.Code) any { return wire.ErrorMessage{Type: wire.Error, Code: c} }

var admitted = wire.AdmittedMessage{Type: wire.Admitted, ClaimMS: 60_000}

// node is one connection's other end, in the hands of a story.
type node struct {
	t       *testing.T
	ctx     context.Context
	conn    *websocket.Conn
	shop    string
	offered string // the place in the handshake
}

func (n *node) say(messages ...any) {
	for _, m := range messages {
		if err := n.conn.Write(n.ctx, websocket.MessageText, wire.Encode(m)); err != nil {
			n.t.Errorf("node says %+v: %v", m, err)
		}
	}
}

func (n *node) hear(want wire.Request) {
	n.t.Helper()
	_, b, err := n.conn.Read(n.ctx)
	if err != nil {
		n.t.Errorf("node waits for %+v: %v", want, err)
		return
	}
	got, err := wire.DecodeRequest(b)
	if err != nil || got != want {
		n.t.Errorf("node hears %+v, %v, want %+v", got, err, want)
	}
}

// gone waits until the visitor has closed.
func (n *node) gone() {
	if _, b, err := n.conn.Read(n.ctx); err == nil {
		n.t.Errorf("node hears %s, want the connection closed", b)
	}
}

func (n *node) pass() any {
	return wire.PassMessage{Type: wire.Pass, Pass: jwt(map[string]any{"jti": "show.abcdefgh.7." + string(visitor)}), ExpiresMS: 60_000, URL: n.shop + "/rooms/show/shop"}
}

// admits is a whole stay of number 7.
func (n *node) admits() {
	n.hear(wire.Request{Type: wire.Join})
	n.say(joined(7), state(room.ShownOpen), position(1), admitted)
	n.hear(wire.Request{Type: wire.Claim})
	n.say(n.pass())
}

// shop is a booker made of a few seats; deny answers instead of it while it
// returns a code.
type shop struct {
	mu     sync.Mutex
	seats  map[seat.ID]seat.State
	holds  map[string][]seat.ID
	booked []seat.ID
	calls  []string
	left   bool
	deny   func(call string, nth int) wire.Code
}

func newShop(count int) *shop {
	ids, _ := seat.Generate(count, 10)
	s := &shop{seats: map[seat.ID]seat.State{}, holds: map[string][]seat.ID{}}
	for _, id := range ids {
		s.seats[id] = seat.Free
	}
	return s
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := r.Method + strings.TrimPrefix(r.URL.Path, "/rooms/show")
	s.calls = append(s.calls, call)
	if s.deny != nil {
		nth := 0
		for _, c := range s.calls {
			if c == call {
				nth++
			}
		}
		if code := s.deny(call, nth); code != "" {
			wire.WriteProblem(w, code, 0)
			return
		}
	}
	answer := func(status int, m any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(m)
	}
	switch {
	case call == "GET/seats":
		list := []seat.Seat{}
		for id, st := range s.seats {
			list = append(list, seat.Seat{ID: id, State: st})
		}
		slices.SortFunc(list, func(a, b seat.Seat) int { return strings.Compare(string(a.ID), string(b.ID)) })
		answer(200, map[string]any{"seats": list})
	case call == "POST/holds":
		var ask struct{ Seats []seat.ID }
		_ = json.NewDecoder(r.Body).Decode(&ask)
		for _, id := range ask.Seats {
			if s.seats[id] != seat.Free {
				wire.WriteProblem(w, wire.SeatTaken, 0, id)
				return
			}
		}
		id := fmt.Sprintf("hold%d", len(s.holds))
		s.holds[id] = ask.Seats
		s.set(ask.Seats, seat.Held)
		answer(201, map[string]any{"id": id, "seats": ask.Seats, "left_ms": 60_000})
	case strings.HasSuffix(call, "/confirm"):
		s.booked = s.holds[strings.TrimSuffix(strings.TrimPrefix(call, "POST/holds/"), "/confirm")]
		s.set(s.booked, seat.Booked)
		answer(200, map[string]any{"seats": s.booked})
	case strings.HasPrefix(call, "DELETE/holds/"):
		s.set(s.holds[strings.TrimPrefix(call, "DELETE/holds/")], seat.Free)
		w.WriteHeader(204)
	case call == "DELETE/pass":
		s.left = true
		w.WriteHeader(204)
	case call == "GET/pass":
		visit := map[string]any{"spent": s.booked != nil}
		if s.booked != nil {
			visit["booking"] = map[string]any{"seats": s.booked}
		} else if hold, ok := s.holds["hold0"]; ok {
			visit["hold"] = map[string]any{"id": "hold0", "seats": hold, "left_ms": 60_000}
		}
		answer(200, visit)
	}
}

func (s *shop) set(ids []seat.ID, to seat.State) {
	for _, id := range ids {
		s.seats[id] = to
	}
}

// visit runs one bot against a node whose nth connection is the nth story, and
// against a shop.
func visit(t *testing.T, plan bot.Plan, s *shop, stories ...func(*node)) bot.Outcome {
	t.Helper()
	return visitAs(t, bot.Config{Plan: plan, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond}, s, stories...)
}

func visitAs(t *testing.T, config bot.Config, s *shop, stories ...func(*node)) bot.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	booker := httptest.NewServer(s)
	t.Cleanup(booker.Close)
	var mu sync.Mutex
	var told sync.WaitGroup
	connections := 0
	waitroom := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		nth := connections
		connections++
		mu.Unlock()
		if nth >= len(stories) {
			t.Errorf("connection %d came, want %d", nth+1, len(stories))
			http.Error(w, "", http.StatusNotFound)
			return
		}
		if stories[nth] == nil {
			w.Header().Set("Retry-After", "0")
			wire.WriteProblem(w, wire.Overloaded, 0)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		told.Add(1)
		defer told.Done()
		defer conn.CloseNow()
		stories[nth](&node{t, ctx, conn, booker.URL, wire.OfferedPlace(r.Header)})
	}))
	t.Cleanup(waitroom.Close)
	config.Nodes, config.Room, config.Rand, config.Log = []string{waitroom.URL}, "show", rand.New(rand.NewPCG(1, 2)), t.Logf
	outcome := bot.Run(ctx, config)
	told.Wait()
	if connections != len(stories) {
		t.Errorf("got %d connections, want %d", connections, len(stories))
	}
	return outcome
}

func wantEnd(t *testing.T, got bot.Outcome, want bot.End) {
	t.Helper()
	if got.End != want || (want != bot.Failed && want != bot.Stopped && got.Err != nil) {
		t.Errorf("got end %s (%v), want %s", got.End, got.Err, want)
	}
}

func TestBuys(t *testing.T) {
	s := newShop(20)
	got := visit(t, bot.Plan{MaxSeats: 3, Change: 1}, s, func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		n.say(joined(7), map[string]any{"type": "weather", "rain": true}, state(room.ShownOpen), position(3), position(3), position(1), admitted)
		n.hear(wire.Request{Type: wire.Claim})
		n.say(n.pass())
	})
	wantEnd(t, got, bot.Booked)
	if len(got.Seats) == 0 || !reflect.DeepEqual(got.Seats, s.booked) {
		t.Errorf("got seats %v, the shop booked %v", got.Seats, s.booked)
	}
	if len(s.holds) != 2 {
		t.Errorf("got %d holds, want 2: the first one is changed", len(s.holds))
	}
	stay := got.Place()
	if stay.Number != 7 || stay.Epoch != epoch || stay.Visitor != visitor || stay.First != 3 || stay.Last != 1 || stay.Heard != 3 ||
		stay.Rises != 0 || stay.Moves != 0 || stay.Joined.IsZero() || stay.Admitted.IsZero() || stay.Passed.IsZero() ||
		stay.Admission != "show.abcdefgh.7."+string(visitor) || !got.InShop {
		t.Errorf("got stay %+v", stay)
	}
}

// Whatever cuts the connection, the next one brings the place along.
func TestKeepsPlace(t *testing.T) {
	back := wire.Request{Type: wire.Join, Place: place(7)}
	for name, cut := range map[string]func(*node){
		"broken":     func(n *node) { n.conn.CloseNow() },
		"going away": func(n *node) { n.conn.Close(websocket.StatusGoingAway, "") },
		"slow":       func(n *node) { n.say(refusal(wire.Slow)); n.conn.Close(wire.CloseSlow, "") },
		"drain": func(n *node) {
			n.say(wire.DrainMessage{Type: wire.Drain, RetryMS: 5})
			n.conn.Close(wire.CloseDrain, "")
		},
		"drain, still open": func(n *node) {
			n.say(wire.DrainMessage{Type: wire.Drain, RetryMS: 5})
			n.gone()
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := visit(t, bot.Plan{}, newShop(1), func(n *node) {
				n.hear(wire.Request{Type: wire.Join})
				n.say(joined(7), position(2))
				cut(n)
			}, nil, func(n *node) {
				n.hear(back)
				if n.offered != place(7) {
					t.Errorf("got %q offered in the handshake, want the place", n.offered)
				}
				// A node whose read is a moment older may know a greater position.
				n.say(joined(7), position(3), position(1), admitted)
				n.hear(wire.Request{Type: wire.Claim})
				n.conn.CloseNow() // the pass is lost on its way
			}, func(n *node) {
				n.hear(back)
				n.say(joined(7), n.pass())
			})
			wantEnd(t, got, bot.Booked)
			if stay := got.Place(); len(got.Stays) != 1 || stay.Moves != 0 || stay.Rises != 0 || got.Reconnects != 2 || got.Dials != 4 {
				t.Errorf("got %d stays, %d reconnects, %d dials, stay %+v", len(got.Stays), got.Reconnects, got.Dials, stay)
			}
		})
	}
}

// Somebody who has a pass may come back with the place, and is heard all the way.
func TestComesBack(t *testing.T) {
	var heard []string
	got := visitAs(t, bot.Config{Place: place(7), Plan: bot.Plan{NoShow: 1}, Hear: func(h bot.Heard) {
		heard = append(heard, fmt.Sprint(h.Type, " ", h.Stay.Number, " ", h.Stay.Last, " ", h.Code, h.State, " ", h.Place == place(7)))
	}}, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join, Place: place(7)})
		n.say(refusal(wire.NotJoined))
		n.hear(wire.Request{Type: wire.Join, Place: place(7)})
		n.say(joined(7), state(room.ShownOpen), position(1), admitted)
		n.hear(wire.Request{Type: wire.Claim})
		n.say(n.pass())
	})
	wantEnd(t, got, bot.Left)
	if stay := got.Place(); len(got.Stays) != 1 || stay.Number != 7 || stay.Visitor != visitor || stay.Moves != 0 || got.InShop || stay.Admission == "" {
		t.Errorf("got %d stays, the last %+v, in the shop %v, want number 7 with a pass and never in the shop", len(got.Stays), stay, got.InShop)
	}
	want := []string{"error 0 0 not_joined true", "joined 7 0  true", "room 7 0 open true", "position 7 1  true", "admitted 7 1  true", "pass 7 1  true"}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q\nwant  %q", heard, want)
	}
}

// Who was refused asks again seldom, and is called back by the room at once.
func TestIsCalledBack(t *testing.T) {
	got := visitAs(t, bot.Config{Plan: bot.Plan{NoShow: 1}, BackoffMin: 20 * time.Millisecond, BackoffMax: 10 * time.Hour}, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		for range 12 { // the twelfth ceiling is far above this test's time
			n.say(refusal(wire.Recovering), state(room.ShownRecovering), state(room.ShownOpen))
			n.hear(wire.Request{Type: wire.Join})
		}
		n.say(joined(7), n.pass())
	})
	wantEnd(t, got, bot.Left)
}

// A node that has named its beat and then says nothing is left for another one
// long before 45 s.
func TestSilence(t *testing.T) {
	got := visit(t, bot.Plan{NoShow: 1}, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		m := joined(7).(wire.JoinedMessage)
		m.BeatMS = 1
		n.say(m)
		n.gone()
	}, func(n *node) {
		n.hear(wire.Request{Type: wire.Join, Place: place(7)})
		n.say(joined(7), n.pass())
	})
	wantEnd(t, got, bot.Left)
}

func TestNoticesWrongs(t *testing.T) {
	got := visit(t, bot.Plan{}, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		n.say(joined(7), position(2), position(3))
		n.conn.CloseNow()
	}, func(n *node) {
		n.hear(wire.Request{Type: wire.Join, Place: place(7)})
		n.say(joined(8), state(room.ShownSoldOut))
		n.gone()
	})
	wantEnd(t, got, bot.SoldOut)
	if stay := got.Place(); stay.Rises != 1 || stay.Moves != 1 {
		t.Errorf("got %d rises, %d moves, want one of each", stay.Rises, stay.Moves)
	}
}

func TestGoesOfItsOwnWill(t *testing.T) {
	t.Run("leaves", func(t *testing.T) {
		wantEnd(t, visit(t, bot.Plan{Leave: 1, LeaveIn: 5 * time.Millisecond}, newShop(1), func(n *node) {
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7), position(2))
			n.hear(wire.Request{Type: wire.Leave})
			n.conn.CloseNow() // the answer is lost
		}, func(n *node) {
			n.hear(wire.Request{Type: wire.Join, Place: place(7)})
			n.say(joined(7), position(2)) // the leave was lost
			n.hear(wire.Request{Type: wire.Leave})
			n.say(plain(wire.Left))
		}), bot.Left)
	})
	t.Run("leave took effect, answer lost", func(t *testing.T) {
		wantEnd(t, visit(t, bot.Plan{Leave: 1, LeaveIn: 5 * time.Millisecond}, newShop(1), func(n *node) {
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7), position(2))
			n.hear(wire.Request{Type: wire.Leave})
			n.conn.CloseNow()
		}, func(n *node) {
			n.hear(wire.Request{Type: wire.Join, Place: place(7)})
			n.say(plain(wire.Spent))
		}), bot.Left)
	})
	t.Run("misses the claim", func(t *testing.T) {
		got := visit(t, bot.Plan{MissClaim: 1}, newShop(1), func(n *node) {
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7), admitted, plain(wire.Missed))
			n.gone()
		})
		wantEnd(t, got, bot.Missed)
		if got.InShop || got.Place().Admitted.IsZero() {
			t.Errorf("got %+v, want admitted and never inside", got)
		}
	})
	t.Run("drops and comes back", func(t *testing.T) {
		got := visit(t, bot.Plan{Drop: 1, DropIn: 5 * time.Millisecond, Away: 5 * time.Millisecond}, newShop(1), func(n *node) {
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7), position(2))
			n.gone()
		}, func(n *node) {
			n.hear(wire.Request{Type: wire.Join, Place: place(7)})
			n.say(joined(7), admitted)
			n.hear(wire.Request{Type: wire.Claim})
			n.say(n.pass())
		})
		wantEnd(t, got, bot.Booked)
	})
	t.Run("leaves the shop", func(t *testing.T) {
		s := newShop(1)
		wantEnd(t, visit(t, bot.Plan{LeaveShop: 1}, s, (*node).admits), bot.Left)
		if !s.left || s.booked != nil {
			t.Errorf("the shop saw left %v, booked %v", s.left, s.booked)
		}
	})
	t.Run("vanishes from the shop", func(t *testing.T) {
		s := newShop(1)
		wantEnd(t, visit(t, bot.Plan{Vanish: 1}, s, (*node).admits), bot.Left)
		if s.left || s.booked != nil || s.seats["A-1"] != seat.Held {
			t.Errorf("the shop saw left %v, booked %v, A-1 %s", s.left, s.booked, s.seats["A-1"])
		}
	})
}

func TestJoinsAgain(t *testing.T) {
	t.Run("after a turn missed against its plan", func(t *testing.T) {
		got := visit(t, bot.Plan{Joins: 2}, newShop(1), func(n *node) {
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7), plain(wire.Missed))
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(9), plain(wire.Spent))
			n.gone()
		})
		wantEnd(t, got, bot.Failed) // two lost turns are enough
		if len(got.Stays) != 2 || got.Stays[1].Number != 9 {
			t.Errorf("got stays %+v, want 7 and 9", got.Stays)
		}
	})
	t.Run("with a place of another epoch", func(t *testing.T) {
		got := visit(t, bot.Plan{}, newShop(1), func(n *node) {
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7))
			n.conn.CloseNow()
		}, func(n *node) {
			n.hear(wire.Request{Type: wire.Join, Place: place(7)})
			n.say(refusal(wire.PlaceEpoch))
			n.conn.Close(wire.ClosePlace, "")
		}, (*node).admits)
		wantEnd(t, got, bot.Booked)
	})
	t.Run("on the same connection while the line is stalled", func(t *testing.T) {
		wantEnd(t, visit(t, bot.Plan{}, newShop(1), func(n *node) {
			for range 3 {
				n.hear(wire.Request{Type: wire.Join})
				n.say(refusal(wire.Stalled))
			}
			n.hear(wire.Request{Type: wire.Join})
			n.say(joined(7), admitted)
			n.hear(wire.Request{Type: wire.Claim})
			n.say(refusal(wire.Stalled))
			n.hear(wire.Request{Type: wire.Claim})
			n.say(n.pass())
		}), bot.Booked)
	})
}

func TestTold(t *testing.T) {
	for name, c := range map[string]struct {
		say   []any
		close websocket.StatusCode
		want  bot.End
	}{
		"sold out":           {[]any{refusal(wire.SoldOut)}, 0, bot.SoldOut},
		"sold out, waiting":  {[]any{joined(7), position(2), state(room.ShownSoldOut)}, 0, bot.SoldOut},
		"closed":             {[]any{refusal(wire.RoomClosed)}, 0, bot.Closed},
		"closed, waiting":    {[]any{joined(7), position(2), state(room.ShownClosed)}, 0, bot.Closed},
		"closed, came back":  {[]any{joined(7), state(room.ShownClosed), position(2)}, 0, bot.Closed},
		"unknown room":       {[]any{refusal(wire.UnknownRoom)}, 0, bot.Failed},
		"a newer tab":        {[]any{joined(7), refusal(wire.TooManyTabs)}, wire.CloseTabs, bot.Failed},
		"no JSON":            {[]any{json.RawMessage(`"x"`)}, 0, bot.Failed},
		"position, no place": {[]any{position(2)}, 0, bot.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			wantEnd(t, visit(t, bot.Plan{}, newShop(1), func(n *node) {
				n.hear(wire.Request{Type: wire.Join})
				n.say(c.say...)
				if c.close != 0 {
					n.conn.Close(c.close, "")
				} else {
					n.gone()
				}
			}), c.want)
		})
	}
}

// A claim that is refused for a while is made again while its time lasts: waits that
// are right for a join would let the turn lapse.
func TestClaimsAgain(t *testing.T) {
	const left = 3 * time.Second
	var took time.Duration
	config := bot.Config{BackoffMin: 4 * time.Second, BackoffMax: 30 * time.Second}
	wantEnd(t, visitAs(t, config, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		began := time.Now()
		n.say(joined(7), wire.AdmittedMessage{Type: wire.Admitted, ClaimMS: left.Milliseconds()})
		for range 3 {
			n.hear(wire.Request{Type: wire.Claim})
			n.say(refusal(wire.Recovering))
		}
		n.hear(wire.Request{Type: wire.Claim})
		took = time.Since(began)
		n.say(n.pass())
	}), bot.Booked)
	if took > left {
		t.Errorf("the fourth claim came after %s, want it within %s", took, left)
	}
}

// A claim that is refused beyond its time is not made again at once, for ever: the line
// that refuses it is in trouble.
func TestClaimsOnAfterItsTime(t *testing.T) {
	const beyond = 2 * time.Second
	claims := 0
	config := bot.Config{BackoffMin: 4 * time.Second, BackoffMax: 30 * time.Second}
	wantEnd(t, visitAs(t, config, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		n.say(joined(7), wire.AdmittedMessage{Type: wire.Admitted, ClaimMS: 100})
		for began := time.Now(); time.Since(began) < beyond; claims++ {
			n.hear(wire.Request{Type: wire.Claim})
			n.say(refusal(wire.Recovering))
		}
		n.hear(wire.Request{Type: wire.Claim})
		n.say(n.pass())
	}), bot.Booked)
	if claims > 20 {
		t.Errorf("got %d claims in %s, want one in half a second and fewer later", claims, beyond)
	}
}

// A line that lost the admission under a claim lets the visitor in again, at once and
// with no position between: then the claim is made again.
func TestClaimsAnAdmissionThatComesAgain(t *testing.T) {
	wantEnd(t, visit(t, bot.Plan{}, newShop(1), func(n *node) {
		n.hear(wire.Request{Type: wire.Join})
		n.say(joined(7), admitted)
		n.hear(wire.Request{Type: wire.Claim})
		n.say(admitted)
		n.hear(wire.Request{Type: wire.Claim})
		n.say(n.pass())
	}), bot.Booked)
}

func TestShop(t *testing.T) {
	once := func(call string, code wire.Code) func(string, int) wire.Code {
		return func(c string, nth int) wire.Code {
			if c == call && nth == 1 {
				return code
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		prepare func(*shop)
		want    bot.End
	}{
		"a seat is taken":        {func(s *shop) { s.deny = once("POST/holds", wire.SeatTaken) }, bot.Booked},
		"unavailable for a time": {func(s *shop) { s.deny = once("POST/holds/hold0/confirm", wire.Unavailable) }, bot.Booked},
		"the hold ended":         {func(s *shop) { s.deny = once("POST/holds/hold0/confirm", wire.HoldEnded) }, bot.Booked},
		"declined once":          {func(s *shop) { s.deny = once("POST/holds/hold0/confirm", wire.Declined) }, bot.Booked},
		"always declined": {func(s *shop) {
			s.deny = func(c string, _ int) wire.Code {
				if strings.HasSuffix(c, "/confirm") {
					return wire.Declined
				}
				return ""
			}
		}, bot.Left},
		"the answer to a hold was lost": {func(s *shop) {
			s.holds["hold0"] = []seat.ID{"A-1"}
			s.deny = once("POST/holds", wire.HoldOpen)
		}, bot.Booked},
		"the answer to a confirm was lost": {func(s *shop) {
			s.booked = []seat.ID{"A-1"}
			s.deny = once("POST/holds/hold0/confirm", wire.PassSpent)
		}, bot.Booked},
		"every seat is booked":  {func(s *shop) { s.set([]seat.ID{"A-1", "A-2", "A-3"}, seat.Booked) }, bot.SoldOut},
		"the sale ended inside": {func(s *shop) { s.deny = once("POST/holds", wire.SoldOut) }, bot.SoldOut},
		"a foreign pass":        {func(s *shop) { s.deny = once("POST/holds", wire.PassForeign) }, bot.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(3)
			c.prepare(s)
			got := visit(t, bot.Plan{}, s, (*node).admits)
			wantEnd(t, got, c.want)
			if got.End == bot.Booked && !reflect.DeepEqual(got.Seats, s.booked) {
				t.Errorf("got seats %v, the shop booked %v", got.Seats, s.booked)
			}
			if got.End == bot.SoldOut && !s.left {
				t.Errorf("told sold out: got no leave, want the slot given back")
			}
		})
	}
}

// A seat that is only held is waited for.
func TestWaitsForHeldSeat(t *testing.T) {
	s := newShop(1)
	s.seats["A-1"] = seat.Held
	s.deny = func(call string, nth int) wire.Code {
		if call == "GET/seats" && nth == 3 {
			s.seats["A-1"] = seat.Free
		}
		return ""
	}
	wantEnd(t, visit(t, bot.Plan{}, s, (*node).admits), bot.Booked)
}

// A crowd of simultaneous visitors at two nodes, one of which is dead, shares
// out what there is, and the same seed plans the same crowd.
func TestCrowd(t *testing.T) {
	const n, seats = 40, 30
	s := newShop(seats)
	booker := httptest.NewServer(s)
	t.Cleanup(booker.Close)
	var mu sync.Mutex
	last := 0
	waitroom := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		mu.Lock()
		last++
		number := last
		mu.Unlock()
		one := &node{t, r.Context(), conn, booker.URL, ""}
		one.hear(wire.Request{Type: wire.Join})
		one.say(joined(number), admitted)
		one.hear(wire.Request{Type: wire.Claim})
		one.say(one.pass())
	}))
	t.Cleanup(waitroom.Close)
	dead := httptest.NewServer(nil)
	dead.Close()
	outcomes := bot.Crowd(t.Context(), bot.Config{
		Nodes: []string{dead.URL, waitroom.URL}, Shops: []string{booker.URL}, Room: "show",
		Rand: rand.New(rand.NewPCG(3, 4)), BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
	}, n, 20*time.Millisecond)
	count := map[bot.End]int{}
	booked := map[seat.ID]int{}
	for _, o := range outcomes {
		count[o.End]++
		for _, id := range o.Seats {
			booked[id]++
		}
	}
	if count[bot.Booked] != seats || count[bot.SoldOut] != n-seats || len(booked) != seats {
		t.Errorf("got ends %v and %d different seats, want %d booked and %d sold out", count, len(booked), seats, n-seats)
	}
}

func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	waitroom := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		one := &node{t, r.Context(), conn, "", ""}
		one.hear(wire.Request{Type: wire.Join})
		one.say(joined(7))
		cancel()
		one.gone()
	}))
	t.Cleanup(waitroom.Close)
	got := bot.Run(ctx, bot.Config{Nodes: []string{waitroom.URL}, Room: "show"})
	if got.End != bot.Stopped || got.Err == nil {
		t.Errorf("got end %s, %v, want stopped with the reason", got.End, got.Err)
	}
}
