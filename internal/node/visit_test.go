package node

import (
	"bufio"
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/embedded"
	"waitroom/internal/gateway"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// The whole way of a visitor: join, watch, your turn, pass.
func TestVisit(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		a, joinedA := n.join(t)
		if got := a.hear(wire.Room); got.State != room.ShownOpen {
			t.Errorf("got state %s, want open", got.State)
		}
		b, joinedB := n.join(t)
		if joinedA.Number != 1 || joinedB.Number != 2 || joinedA.Epoch != h.epoch {
			t.Errorf("got %+v and %+v, want numbers 1 and 2 of epoch %s", joinedA, joinedB, h.epoch)
		}
		a.until("position 1 of 2", func(m message) bool { return m.Position == 1 && m.Waiting == 2 || m.Position == 1 })
		b.until("position 2", func(m message) bool { return m.Position == 2 })

		admitted := time.Now()
		h.admit(t, 1)
		turn := a.hear(wire.Admitted)
		if took := time.Since(admitted); took > 500*time.Millisecond {
			t.Errorf("told after %s", took)
		}
		if turn.ClaimMS < 4000 || turn.ClaimMS > 5000 {
			t.Errorf("got claim_ms %d, want nearly 5000", turn.ClaimMS)
		}
		b.until("position 1", func(m message) bool { return m.Position == 1 })

		a.say(wire.Request{Type: wire.Claim})
		pass := a.hear(wire.Pass)
		if want := "http://shop.example/rooms/" + string(h.room) + "/shop"; pass.URL != want {
			t.Errorf("got url %s, want %s", pass.URL, want)
		}
		p, err := h.keys.Verifier().ParsePass(t.Context(), pass.Pass, h.room, time.Now())
		if err != nil || p.Number != 1 || p.Epoch != h.epoch {
			t.Errorf("got pass %+v, %v", p, err)
		}
		a.say(wire.Request{Type: wire.Claim})
		if again := a.hear(wire.Pass); again.Pass != pass.Pass {
			t.Errorf("got another pass for a repeated claim: %s, want %s", again.Pass, pass.Pass)
		}
		a.say(wire.Request{Type: wire.Leave})
		a.until("leave_in_shop", func(m message) bool { return m.Code == wire.NotYours })
	})
}

// A place comes back on another node and in a second tab; all tabs hear all.
func TestPlaceComesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n1, n2 := h.node(t, nil), h.node(t, nil)
		first, joined := n1.join(t)
		tab := n1.back(t, joined.Place)
		far := n2.back(t, joined.Place)
		for _, c := range []*client{tab, far} {
			if got := c.hear(wire.Joined); got.Number != joined.Number || got.Place != joined.Place {
				t.Errorf("got %+v, want number %d again", got, joined.Number)
			}
		}
		h.admit(t, 1)
		for _, c := range []*client{first, tab, far} {
			c.hear(wire.Admitted)
		}
		far.say(wire.Request{Type: wire.Claim})
		pass := far.hear(wire.Pass)
		late := n1.back(t, joined.Place)
		for _, c := range []*client{late, tab, first} {
			c2 := c
			if c != late {
				c.say(wire.Request{Type: wire.Claim})
			}
			if got := c2.hear(wire.Pass); got.Pass != pass.Pass {
				t.Errorf("got pass %s, want %s", got.Pass, pass.Pass)
			}
		}
		v, err := h.keys.Verifier().ParsePass(t.Context(), pass.Pass, h.room, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.lines.Finish(t.Context(), h.room, room.Caller{Epoch: h.epoch}, room.Place{Visitor: v.Visitor, Number: v.Number}); err != nil {
			t.Fatal(err)
		}
		spent := n1.back(t, joined.Place)
		spent.hear(wire.Spent)
	})
}

func TestLeaveMissAndJoinAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		claim := time.Second
		h.set(t, room.Change{Claim: &claim})
		n := h.node(t, nil)
		a, joined := n.join(t)
		tab := n.back(t, joined.Place)
		tab.hear(wire.Joined)
		b, _ := n.join(t)
		b.until("position 2", func(m message) bool { return m.Position == 2 })
		a.say(wire.Request{Type: wire.Leave})
		a.hear(wire.Left)
		tab.hear(wire.Left)
		b.until("position 1", func(m message) bool { return m.Position == 1 })
		a.say(wire.Request{Type: wire.Join})
		if again := a.hear(wire.Joined); again.Number != 3 {
			t.Errorf("got number %d, want 3: the tail", again.Number)
		}
		gone := n.back(t, joined.Place)
		gone.hear(wire.Spent)

		h.admit(t, 1)
		b.hear(wire.Admitted)
		b.hear(wire.Missed)
		b.say(wire.Request{Type: wire.Join})
		if again := b.hear(wire.Joined); again.Number != 4 {
			t.Errorf("got number %d, want 4: the tail", again.Number)
		}
	})
}

// Many join at once and leave mid-line; at the end everybody's last position is
// the rank that the line itself gives.
func TestEveryPositionIsTheRank(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		const people = 40
		clients := make([]*client, people)
		places := make([]message, people)
		for i := range clients {
			clients[i], places[i] = n.join(t)
		}
		for i := 3; i < people; i += 7 {
			clients[i].say(wire.Request{Type: wire.Leave})
			clients[i].hear(wire.Left)
		}
		h.admit(t, 5)
		rank := room.Position(0)
		for i, c := range clients {
			if i%7 == 3 {
				continue
			}
			rank++
			if rank <= 5 {
				c.hear(wire.Admitted)
				continue
			}
			want := rank - 5
			c.until("the last position", func(m message) bool {
				if m.Position > 0 && m.Position < want {
					t.Errorf("number %d: got position %d, below its rank %d", places[i].Number, m.Position, want)
				}
				return m.Position == want
			})
		}
	})
}

func TestBadInput(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		_, joined := n.join(t)
		stranger := newHallKeys(t)
		foreign, _ := stranger.Place(h.room, h.epoch, room.Place{Visitor: room.NewVisitorID(), Number: 1})
		older, _ := h.keys.Place(h.room, "aaaaaaaa", room.Place{Visitor: room.NewVisitorID(), Number: 1})
		other, _ := h.keys.Place("other", h.epoch, room.Place{Visitor: room.NewVisitorID(), Number: 1})
		parts := strings.Split(joined.Place, ".")
		// with is the visitor's place under another head, its MAC as it was or none.
		with := func(head, mac string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + parts[1] + "." + mac
		}
		kid := h.keys.SigningID()
		pass, err := h.keys.Pass(room.Admission{Room: h.room, Epoch: h.epoch, Number: 1, Visitor: room.NewVisitorID()}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		back := func(place string) func(*client) {
			return func(c *client) { c.say(wire.Request{Type: wire.Join, Place: place}) }
		}
		logged := n.logs.Len()
		text := func(s string) func(*client) {
			return func(c *client) { _ = c.ws.Write(t.Context(), websocket.MessageText, []byte(s)) }
		}
		for _, c := range []struct {
			name string
			room room.Name
			say  func(*client)
			want wire.Code
		}{
			{"unknown room", "no-such-room", text(`{"type":"join"}`), wire.UnknownRoom},
			{"ill-named room", "No_Room", text(`{"type":"join"}`), wire.BadRoom},
			{"place with alg none", h.room, back(with(`{"alg":"none","typ":"JWT","kid":"`+kid+`"}`, "")), wire.PlaceForeign},
			{"place that says EdDSA", h.room, back(with(`{"alg":"EdDSA","typ":"JWT","kid":"`+kid+`"}`, parts[2])), wire.PlaceForeign},
			{"place that says HS512", h.room, back(with(`{"alg":"HS512","typ":"JWT","kid":"`+kid+`"}`, parts[2])), wire.PlaceForeign},
			{"place by a key that was dropped", h.room, back(with(`{"alg":"HS256","typ":"JWT","kid":"dropped"}`, parts[2])), wire.PlaceForeign},
			{"a pass for a place", h.room, back(pass), wire.PlaceForeign},
			{"malformed place", h.room, text(`{"type":"join","place":"x"}`), wire.PlaceBad},
			{"foreign place", h.room, text(`{"type":"join","place":"` + foreign + `"}`), wire.PlaceForeign},
			{"place of an older epoch", h.room, text(`{"type":"join","place":"` + older + `"}`), wire.PlaceEpoch},
			{"place of another room", h.room, text(`{"type":"join","place":"` + other + `"}`), wire.PlaceRoom},
			{"too long", h.room, text(`{"type":"join","place":"` + strings.Repeat("x", wire.MaxJoin) + `"}`), wire.TooLong},
			{"far too long", h.room, text(strings.Repeat("x", 1<<20)), wire.TooLong},
			{"malformed JSON", h.room, text(`{"type":`), wire.BadMessage},
			{"unknown type", h.room, text(`{"type":"dance"}`), wire.UnknownType},
			{"identity", h.room, text(`{"type":"join","identity":"x"}`), wire.Unsupported},
			{"binary frame", h.room, func(c *client) { _ = c.ws.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"join"}`)) }, wire.BadMessage},
			{"long later message", h.room, func(c *client) {
				text(`{"type":"join"}`)(c)
				c.hear(wire.Joined)
				text(`{"type":"claim","x":"` + strings.Repeat("x", wire.MaxOther) + `"}`)(c)
			}, wire.TooLong},
			{"too fast", h.room, func(c *client) {
				text(`{"type":"join"}`)(c)
				for range 20 {
					text(`{"type":"claim"}`)(c)
				}
			}, wire.TooFast},
		} {
			t.Run(c.name, func(t *testing.T) {
				page := n.dial(t, c.room)
				c.say(page)
				told, code := page.ends()
				if want := wire.Codes[c.want].Close; told != c.want || code != want {
					t.Errorf("got %s and close code %d, want %s and %d", told, code, c.want, want)
				}
			})
		}
		if got := n.logs.Len() - logged; got != 0 {
			t.Errorf("got %d lines above debug for what strangers sent: %v", got, n.logs.All()[logged:])
		}
		page := n.dial(t, h.room)
		text(`{"type":"claim"}`)(page)
		page.until("not_joined", func(m message) bool { return m.Code == wire.NotJoined })
		page.say(wire.Request{Type: wire.Join})
		if got := page.hear(wire.Joined); got.Number <= joined.Number {
			t.Errorf("got number %d after a refusal that keeps the connection, want one above %d", got.Number, joined.Number)
		}
	})
}

// Who was refused in a room that the node knows nothing of hears no beat; who
// then stays silent is sent to reconnect, not away for good.
func TestSilenceAfterRefusal(t *testing.T) {
	// A Redis of its own, since its registry must be empty.
	_, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	h := newHall(t, "redis://"+addr+"/0")
	if err := h.lines.Delete(t.Context(), h.room, true, "test"); err != nil {
		t.Fatal(err)
	}
	n := h.node(t, nil)
	n.Desk.Again = 50 * time.Millisecond
	c := n.dial(t, "elsewhere")
	c.say(wire.Request{Type: wire.Join})
	if told, code := c.ends(); told != wire.Recovering || code != wire.CloseStalled {
		t.Errorf("got %s and %d, want recovering and %d", told, code, wire.CloseStalled)
	}
}

// Who is refused keeps the connection, hears why and how the room stands, and
// joins on it once the room takes visitors again.
func TestRefusedThenReopened(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		n.Desk.Again = time.Millisecond // no such connection is ever sent away
		first, _ := n.join(t)
		closed, open, few, many := room.Closed, room.Open, int64(1), int64(1000)
		for _, c := range []struct {
			why    wire.Code
			shown  room.Shown
			shut   room.Change
			reopen room.Change
		}{
			{wire.RoomClosed, room.ShownClosed, room.Change{State: &closed}, room.Change{State: &open}},
			{wire.RoomFull, room.ShownFull, room.Change{MaxWaiting: &few}, room.Change{MaxWaiting: &many}},
		} {
			h.set(t, c.shut)
			first.until("the node knows", func(m message) bool { return m.State == c.shown })
			page := n.dial(t, h.room)
			page.say(wire.Request{Type: wire.Join})
			if m, err := page.next(); err != nil || m.Code != c.why {
				t.Fatalf("got %+v, %v, want %s first", m, err, c.why)
			}
			page.until("its state", func(m message) bool { return m.State == c.shown })
			page.until("a beat", func(m message) bool { return m.State == c.shown })
			page.say(wire.Request{Type: wire.Claim})
			page.until("not_joined", func(m message) bool { return m.Code == wire.NotJoined })
			h.set(t, c.reopen)
			page.until("open", func(m message) bool { return m.State == room.ShownOpen })
			page.say(wire.Request{Type: wire.Join})
			page.hear(wire.Joined)
			page.until("a position", func(m message) bool { return m.Position > 0 })
			page.say(wire.Request{Type: wire.Leave})
			page.hear(wire.Left)
		}
	})
}

// A second join is a return, on the connection it comes on: the same place, and
// where it stands. With the place of somebody else it moves there.
func TestSecondJoin(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		a, joined := n.join(t)
		a.say(wire.Request{Type: wire.Join})
		if again := a.hear(wire.Joined); again.Number != joined.Number || again.Place != joined.Place {
			t.Errorf("got number %d, want %d again", again.Number, joined.Number)
		}
		a.hear(wire.Position)
		a.say(wire.Request{Type: wire.Join, Place: joined.Place})
		if again := a.hear(wire.Joined); again.Number != joined.Number {
			t.Errorf("with the place: got number %d, want %d again", again.Number, joined.Number)
		}
		h.admit(t, 1)
		a.hear(wire.Admitted)
		a.say(wire.Request{Type: wire.Join})
		a.hear(wire.Joined)
		if m := a.hear(wire.Admitted); m.ClaimMS <= 0 || m.ClaimMS > 5000 {
			t.Errorf("got claim_ms %d, want what is left", m.ClaimMS)
		}
		a.say(wire.Request{Type: wire.Claim})
		pass := a.hear(wire.Pass)
		a.say(wire.Request{Type: wire.Join})
		if m := a.hear(wire.Pass); m.Pass != pass.Pass {
			t.Errorf("got another pass")
		}

		_, other := n.join(t)
		a.say(wire.Request{Type: wire.Join, Place: other.Place})
		if m := a.hear(wire.Joined); m.Number != other.Number {
			t.Errorf("got number %d, want the other place %d", m.Number, other.Number)
		}
		a.hear(wire.Position)
		status, err := h.lines.Status(t.Context(), h.room)
		if err != nil || status.Waiting != 1 || status.Active != 1 {
			t.Errorf("got %d waiting, %d active, %v, want one each: no join made a place", status.Waiting, status.Active, err)
		}
	})
}

func newHallKeys(t testing.TB) *token.Keyring {
	t.Helper()
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// What an operator changes reaches who waits: notice, pause, close, a new line.
func TestRoomChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		c, _ := n.join(t)
		c.until("open", func(m message) bool { return m.State == room.ShownOpen })
		paused, notice := room.Paused, "Back soon"
		h.set(t, room.Change{State: &paused, Notice: &notice})
		c.until("paused with its notice", func(m message) bool { return m.State == room.ShownPaused && m.Notice == notice })
		closed := room.Closed
		h.set(t, room.Change{State: &closed})
		c.until("closed", func(m message) bool { return m.State == room.ShownClosed })
		late := n.dial(t, h.room)
		late.say(wire.Request{Type: wire.Join})
		late.until("room_closed", func(m message) bool { return m.Code == wire.RoomClosed })

		// Deleted and made anew within a second: places of the older line end.
		if err := h.lines.Delete(t.Context(), h.room, true, "test"); err != nil {
			t.Fatal(err)
		}
		h.create(t)
		told, code := c.ends()
		if (told != wire.PlaceEpoch && told != wire.RoomDeleted) || code < 4500 {
			t.Errorf("got %s and %d, want that the place is of an older line", told, code)
		}
		anew, joined := n.join(t)
		if joined.Number != 1 || joined.Epoch != h.epoch {
			t.Errorf("got %+v, want number 1 of the new line %s", joined, h.epoch)
		}
		if err := h.lines.Delete(t.Context(), h.room, true, "test"); err != nil {
			t.Fatal(err)
		}
		if told, code := anew.ends(); told != wire.RoomDeleted || code != wire.CloseRoom {
			t.Errorf("got %s and %d, want room_deleted and %d", told, code, wire.CloseRoom)
		}
	})
}

func TestUpgradeIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, func(c *gateway.Config) {
			c.MaxConnections = 1
			c.Prefix = "/queue"
			c.Origin = []string{"*.shop.example"}
		})
		url := n.server.URL + "/queue/rooms/" + string(h.room) + "/ws"
		with := func(origin string) http.Header {
			return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Origin": {origin}}
		}
		if got := get(t, url, with("https://evil.example")).StatusCode; got != http.StatusForbidden {
			t.Errorf("a foreign origin: got %d, want 403", got)
		}
		if got := get(t, url, http.Header{}).StatusCode; got != http.StatusUpgradeRequired {
			t.Errorf("no handshake: got %d, want 426", got)
		}
		stripped := with("")
		stripped.Del("Upgrade")
		stripped.Del("Connection")
		if got := get(t, url, stripped).StatusCode; got != http.StatusUpgradeRequired {
			t.Errorf("a proxy stripped Upgrade: got %d, want 426", got)
		}
		if got := n.logs.FilterFieldKey("do").Len(); got != 2 {
			t.Errorf("got %d lines of advice, want one for the origin and one for the proxy: %v", got, n.logs.All())
		}
		first := n.dial(t, h.room)
		first.say(wire.Request{Type: wire.Join})
		first.hear(wire.Joined)
		resp := get(t, url, with("https://www.shop.example"))
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("one too many: got %d, Retry-After %q, want 503 with one", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		jwks := get(t, n.server.URL+"/queue/.well-known/jwks.json", http.Header{})
		if jwks.StatusCode != http.StatusOK || jwks.Header.Get("Content-Type") != "application/jwk-set+json" {
			t.Errorf("keys: got %d %v", jwks.StatusCode, jwks.Header)
		}
	})
}

func TestDrain(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n, other := h.node(t, nil), h.node(t, nil)
		c, joined := n.join(t)
		silent := n.dial(t, h.room)
		drained := make(chan struct{})
		go func() {
			n.Drain(context.Background())
			close(drained)
		}()
		if m := c.hear(wire.Drain); m.RetryMS < 0 || m.RetryMS > 5000 {
			t.Errorf("got retry_ms %d", m.RetryMS)
		}
		for _, c := range []*client{c, silent} {
			if _, code := c.ends(); code != wire.CloseDrain {
				t.Errorf("got close code %d, want %d", code, wire.CloseDrain)
			}
		}
		if resp := get(t, n.server.URL+"/rooms/"+string(h.room)+"/ws", http.Header{}); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("while draining: got %d, want 503", resp.StatusCode)
		}
		select {
		case <-drained:
		case <-time.After(wait):
			t.Fatal("Drain did not return")
		}
		if got := other.back(t, joined.Place).hear(wire.Joined); got.Number != joined.Number {
			t.Errorf("got number %d on the other node, want %d", got.Number, joined.Number)
		}
	})
}

// slowHands hold a handshake at the point where the connection is taken from the HTTP
// server.
type slowHands struct {
	http.Handler
	reached chan struct{}
	goOn    chan struct{}
}

func (s *slowHands) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Handler.ServeHTTP(&slowHand{w, s}, r)
}

type slowHand struct {
	http.ResponseWriter
	hands *slowHands
}

func (w *slowHand) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hands.reached <- struct{}{}
	<-w.hands.goOn
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Whose handshake the start of a drain falls into is sent away as everybody is, by
// the code that pages and bots know.
func TestDrainInAHandshake(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		hands := &slowHands{n.Handler(), make(chan struct{}, 1), make(chan struct{})}
		n.server.Close()
		n.server = httptest.NewServer(hands)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			<-hands.reached
			time.AfterFunc(100*time.Millisecond, func() { close(hands.goOn) }) // with nobody else it would have ended
			n.Drain(context.Background())
		}()
		c := n.dial(t, h.room)
		if m := c.hear(wire.Drain); m.RetryMS < 0 || m.RetryMS > 5000 {
			t.Errorf("got retry_ms %d", m.RetryMS)
		}
		if _, code := c.ends(); code != wire.CloseDrain {
			t.Errorf("got close code %d, want %d", code, wire.CloseDrain)
		}
		select {
		case <-drained:
		case <-time.After(wait):
			t.Fatal("Drain did not return")
		}
	})
}
