package line

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// gala is an event with every field set. The logo is no picture, only its first
// bytes say so: what the line keeps is bytes.
func gala() room.Event {
	return room.Event{Title: "Gala “Ω”", Venue: "Hall 1", StartsAt: time.UnixMilli(1_900_000_000_123).UTC(),
		Brand: room.Brand{Accent: "#1c6b5f", Logo: []byte("\x89PNG\r\n\x1a\n\x00\xffpixels of the first")}}
}

func wantEvent(t *testing.T, l *Lines, name room.Name, want room.Event) {
	t.Helper()
	if got, err := l.Event(background(), name); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("event: got %+v, %v, want %+v", got, err, want)
	}
	snap, err := l.Snapshot(background(), name, 0)
	if err != nil || snap.Conf.EventRev != want.Rev {
		t.Errorf("the conf that nodes read: got event rev %d, %v, want %d", snap.Conf.EventRev, err, want.Rev)
	}
	revs, err := l.EventRevs(background(), []room.Name{name})
	if err != nil || revs[name].Rev != want.Rev || revs[name].Epoch != snap.Conf.Epoch {
		t.Errorf("event revs: got %+v, %v, want rev %d of epoch %s", revs, err, want.Rev, snap.Conf.Epoch)
	}
}

// An event is made with its room or later, each change raises its rev by one, and
// the audit stream says who changed what without the logo's bytes.
func TestEvent(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		wantEvent(t, l, name, room.Event{})

		want := gala()
		ch := room.Change{Actor: "ann", Event: room.EventChange{Title: &want.Title, Venue: &want.Venue, StartsAt: &want.StartsAt, Brand: &want.Brand}}
		changed, err := l.Set(ctx, name, ch)
		if err != nil || changed.Rev != 2 || len(changed.Fields) != 5 {
			t.Fatalf("set: got %+v, %v, want rev 2 and 5 fields", changed, err)
		}
		want.Rev = 1
		wantEvent(t, l, name, want)

		if same, err := l.Set(ctx, name, ch); err != nil || same.Rev != 2 || len(same.Fields) != 0 {
			t.Errorf("set of the same: got %+v, %v, want rev 2 and no field", same, err)
		}
		wantEvent(t, l, name, want)

		// One field, with one of conf: one act.
		if _, err := l.Set(ctx, name, room.Change{Actor: "bob", Notice: ptr("soon"), Event: room.EventChange{Title: ptr("Ball")}}); err != nil {
			t.Fatal(err)
		}
		want.Title, want.Rev = "Ball", 2
		wantEvent(t, l, name, want)
		// conf alone leaves the event as it is.
		if _, err := l.Set(ctx, name, room.Change{Actor: "bob", Notice: ptr("")}); err != nil {
			t.Fatal(err)
		}
		wantEvent(t, l, name, want)
		// Another logo of the same length, then no brand and nothing else.
		second := room.Brand{Logo: bytes.Replace(want.Brand.Logo, []byte("first"), []byte("other"), 1)}
		if _, err := l.Set(ctx, name, room.Change{Actor: "bob", Event: room.EventChange{Brand: &second}}); err != nil {
			t.Fatal(err)
		}
		want.Brand, want.Rev = second, 3
		wantEvent(t, l, name, want)
		none := room.EventChange{Title: ptr(""), Venue: ptr(""), StartsAt: &time.Time{}, Brand: &room.Brand{}}
		if _, err := l.Set(ctx, name, room.Change{Actor: "cleo", Event: none}); err != nil {
			t.Fatal(err)
		}
		wantEvent(t, l, name, room.Event{Rev: 4})

		acts, err := l.Acts(ctx, name, 10)
		if err != nil {
			t.Fatal(err)
		}
		first := gala().Brand
		for i, want := range []room.Act{
			{Actor: "cleo", What: `set title "Ball" → "", venue "Hall 1" → "", starts_at 2030-03-17T17:46:40.123Z → none, logo ` + second.LogoSum() + ` → none`},
			{Actor: "bob", What: `set accent #1c6b5f → none, logo ` + first.LogoSum() + ` → ` + second.LogoSum()},
			{Actor: "bob", What: `set notice "soon" → ""`},
			{Actor: "bob", What: `set notice "" → "soon", title "Gala “Ω”" → "Ball"`},
			{Actor: "ann", What: `set title "" → "Gala “Ω”", venue "" → "Hall 1", starts_at none → 2030-03-17T17:46:40.123Z, accent none → #1c6b5f, logo none → ` + first.LogoSum()},
			{Actor: "test", What: "create", Created: true},
		} {
			if want.At = clock.at(); acts[i] != want {
				t.Errorf("act %d: got %+v, want %+v", i, acts[i], want)
			}
		}
		raw := rdb.XRange(ctx, actsKey(name), "-", "+").Val()
		for _, entry := range raw {
			for field, value := range entry.Values {
				if strings.Contains(value.(string), "pixels") {
					t.Errorf("the audit stream has bytes of a logo in %s", field)
				}
			}
		}
	})
}

// An event beyond its bounds changes nothing, in create as in set.
func TestEventBounds(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		large := gala().Brand
		large.Logo = append(large.Logo, make([]byte, room.MaxLogo)...)
		long := strings.Repeat("x", room.MaxTitle+1)
		_, err := l.Set(ctx, name, room.Change{Actor: "test", Notice: ptr("y"), Event: room.EventChange{Title: &long, Brand: &large}})
		for _, part := range []string{"title", "logo of"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("set beyond the bounds: got %v, want %q in it", err, part)
			}
		}
		other := roomName(t)
		if err := l.CreateWithEvent(ctx, other, conf, room.Event{Brand: large}, "test"); err == nil {
			t.Error("create beyond the bounds: got no error")
		}
		wantEvent(t, l, name, room.Event{})
		if _, err := l.Event(ctx, other); err != room.ErrUnknown {
			t.Errorf("event of a room not created: got %v, want %v", err, room.ErrUnknown)
		}
		// What somebody wrote by hand reaches no page.
		rdb.HSet(ctx, eventKey(name), "rev", 1, fieldAccent, "red;}body{")
		if e, err := l.Event(ctx, name); err == nil {
			t.Errorf("an accent that is none: got %+v, want an error", e)
		}
		rdb.Del(ctx, confKey(name), eventKey(name))
		if _, err := l.Event(ctx, name); err != room.ErrRecovering {
			t.Errorf("event of a lost line: got %v, want %v", err, room.ErrRecovering)
		}
	})
}

// The event goes with its room: deleted with it, never in the way of a new one,
// expiring with a closed one though it was set after the close.
func TestEventLives(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := roomName(t)
		want := gala()
		want.Rev = 1
		if err := l.CreateWithEvent(ctx, name, conf, gala(), "test"); err != nil {
			t.Fatal(err)
		}
		wantEvent(t, l, name, want)
		if err := l.CreateWithEvent(ctx, name, conf, room.Event{Title: "other"}, "test"); err != nil {
			t.Errorf("create again: got %v, want nothing to do", err)
		}
		wantEvent(t, l, name, want)
		revs, err := l.EventRevs(ctx, []room.Name{name, "nobody"})
		made := room.EventRev{Epoch: conf.Epoch, CreatedMS: clock.ms(), Rev: 1}
		if err != nil || len(revs) != 1 || revs[name] != made {
			t.Errorf("event revs: got %+v, %v, want %+v of one room", revs, err, made)
		}

		if err := l.Delete(ctx, name, false, "test"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Event(ctx, name); err != room.ErrUnknown {
			t.Errorf("event of a deleted room: got %v, want %v", err, room.ErrUnknown)
		}
		if left := rdb.Exists(ctx, eventKey(name)).Val(); left != 0 {
			t.Error("the event outlives its room")
		}
		// As an older version would leave it, which does not know the key.
		rdb.HSet(ctx, eventKey(name), "rev", 7, fieldTitle, "of the sale before")
		clock.pass(time.Second)
		conf.Epoch = room.NewEpoch()
		if err := l.Create(ctx, name, conf, "test"); err != nil {
			t.Fatalf("create over the event of the sale before: %v", err)
		}
		wantEvent(t, l, name, room.Event{})
		if revs, err := l.EventRevs(ctx, []room.Name{name}); err != nil || revs[name].CreatedMS != made.CreatedMS+1000 {
			t.Errorf("event revs: got %+v, %v, want the room made a second later", revs, err)
		}

		if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: ptr(room.Closed)}); err != nil {
			t.Fatal(err)
		}
		for _, title := range []string{"first", "second"} {
			if _, err := l.Set(ctx, name, room.Change{Actor: "test", Event: room.EventChange{Title: &title}}); err != nil {
				t.Fatal(err)
			}
			if ttl := rdb.PTTL(ctx, eventKey(name)).Val(); ttl <= 0 || ttl > closedLife+netLife {
				t.Errorf("event of a closed room: got %v to live, want up to %v", ttl, closedLife+netLife)
			}
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: ptr(room.Open)}); err != nil {
			t.Fatal(err)
		}
		for _, opened := range []string{"by this version", "by an older one, then set"} {
			if ttl := rdb.PTTL(ctx, eventKey(name)).Val(); ttl > 0 {
				t.Errorf("event of a room opened %s: got %v to live, want for ever", opened, ttl)
			}
			rdb.PExpire(ctx, eventKey(name), time.Hour)
			if _, err := l.Set(ctx, name, room.Change{Actor: "test", Event: room.EventChange{Title: &opened}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Delete(ctx, name, true, "test"); err != nil {
			t.Fatal(err)
		}
	})
}

// A line that an older version made has neither field in its conf.
func TestEventOfOlderLine(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		rdb.HDel(ctx, confKey(name), fieldCreated, fieldEventRev)
		wantEvent(t, l, name, room.Event{})
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Event: room.EventChange{Title: ptr("x")}}); err != nil {
			t.Fatal(err)
		}
		wantEvent(t, l, name, room.Event{Title: "x", Rev: 1})
		before, _ := l.EventRevs(ctx, []room.Name{name})
		clock.pass(time.Second)
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Event: room.EventChange{Title: ptr("y")}}); err != nil {
			t.Fatal(err)
		}
		revs, err := l.EventRevs(ctx, []room.Name{name})
		if want := (room.EventRev{Epoch: conf.Epoch, CreatedMS: clock.ms() - 1000, Rev: 2}); err != nil || revs[name] != want || before[name].CreatedMS != want.CreatedMS {
			t.Errorf("event revs: got %+v then %+v, %v, want %+v, made when its event was first set", before, revs, err, want)
		}
	})
}

func TestEventRevsBound(t *testing.T) {
	l := New(mini(t))
	if _, err := l.EventRevs(background(), make([]room.Name, room.MaxRooms+1)); err == nil {
		t.Error("more rooms than a registry has: got no error")
	}
	if revs, err := l.EventRevs(background(), nil); err != nil || len(revs) != 0 {
		t.Errorf("of no room: got %v, %v", revs, err)
	}
}

// An event comes back with a line that is lost whole, as who read it remembers it; and
// with a line that lost the change of it alone. An older one changes nothing.
func TestEventComesBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l := background(), New(rdb)
		name := create(t, l, openConf())
		change := func(title string) {
			t.Helper()
			brand := room.Brand{Accent: "#a01020", Logo: []byte("\x89PNG\r\n\x1a\nlogo of " + title)}
			if _, err := l.Set(ctx, name, room.Change{Actor: "ann", Event: room.EventChange{Title: &title, Brand: &brand}}); err != nil {
				t.Fatal(err)
			}
		}
		read := func() (room.Snapshot, room.Event) {
			t.Helper()
			s, err1 := l.Snapshot(ctx, name, 0)
			e, err2 := l.Event(ctx, name)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			s.Saved.Event = e
			return s, e
		}
		change("Gala")
		older, _ := read()
		confBefore, eventBefore := rdb.HGetAll(ctx, confKey(name)).Val(), rdb.HGetAll(ctx, eventKey(name)).Val()
		change("Gala of the year")
		newer, want := read()
		check := func(what string) {
			t.Helper()
			s, got := read()
			if !reflect.DeepEqual(got, want) || s.Conf.EventRev != want.Rev {
				t.Errorf("%s: got %+v with the event_rev %d, want %+v", what, got, s.Conf.EventRev, want)
			}
		}
		recreate := func(saved room.Saved) {
			t.Helper()
			if err := l.Recreate(ctx, name, caller(newer.Conf.Epoch), saved); err != nil {
				t.Fatal(err)
			}
		}
		recreate(older.Saved)
		check("an older one")
		if err := errors.Join(rdb.HSet(ctx, confKey(name), confBefore).Err(), rdb.Del(ctx, eventKey(name)).Err(), rdb.HSet(ctx, eventKey(name), eventBefore).Err()); err != nil {
			t.Fatal(err)
		}
		recreate(newer.Saved)
		check("its last change was lost")
		if err := rdb.Del(ctx, presenceKeysOf(name)...).Err(); err != nil {
			t.Fatal(err)
		}
		blind := older.Saved
		blind.Event = room.Event{} // of a process that never read it
		recreate(blind)
		recreate(newer.Saved)
		check("all of it was lost")
	})
}
