package booking

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

var galaEvent = room.Event{Title: "Gala “Ω” 🎭", Venue: "Hall 1", StartsAt: time.UnixMilli(1_900_000_000_123).UTC(), Rev: 3,
	Brand: room.Brand{Accent: "#1c6b5f", Logo: append([]byte("\x89PNG\r\n\x1a\n\x00\xff'\\"), make([]byte, 1000)...)}}

// describedRecord is what an admitter publishes of "gig".
func describedRecord(e room.Epoch, createdMS, rev int64, event room.Event) events.Record {
	return events.EncodeDescribed("gig", room.EventRev{Epoch: e, CreatedMS: createdMS, Rev: rev}, event)
}

func titled(title string) room.Event { return room.Event{Title: title} }

// take hands records over as Kafka does, and looks.
func take(t *testing.T, b *Booker, records ...events.Record) {
	t.Helper()
	if err := b.Consume(t.Context(), records); err != nil {
		t.Fatalf("consume: %v", err)
	}
	if _, err := b.events.look(t.Context()); err != nil {
		t.Fatalf("look: %v", err)
	}
}

// What is told of a room is kept as it was told, whatever the order in which it
// comes: a line made later is newer, then the greater rev.
func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		b := newBooker(t, dsn, 0, nil)
		if got := b.Event("gig"); !reflect.DeepEqual(got, room.Event{}) {
			t.Errorf("before anything is told: got %+v, want an empty event", got)
		}
		take(t, b, describedRecord("aaaaaaaa", 1000, 3, galaEvent))
		if got := b.Event("gig"); !reflect.DeepEqual(got, galaEvent) {
			t.Errorf("got %+v, want %+v", got, galaEvent)
		}
		for _, step := range []struct {
			what  string
			epoch room.Epoch
			made  int64
			rev   int64
			title string
			want  string
		}{
			{"the same rev, given to another change", "aaaaaaaa", 1000, 3, "Gala", "Gala"},
			{"an older rev", "aaaaaaaa", 1000, 2, "old", "Gala"},
			{"a newer rev", "aaaaaaaa", 1000, 5, "Ball", "Ball"},
			{"made anew, with a smaller rev", "bbbbbbbb", 2000, 0, "", ""},
			{"the line before, with a greater rev", "aaaaaaaa", 1000, 9, "old", ""},
			{"the new line", "bbbbbbbb", 2000, 1, "Anew", "Anew"},
			{"a line whose time nobody noted", "cccccccc", 0, 7, "old", "Anew"},
		} {
			take(t, b, describedRecord(step.epoch, step.made, step.rev, titled(step.title)))
			if got := b.Event("gig"); got.Title != step.want {
				t.Errorf("%s: got title %q, want %q", step.what, got.Title, step.want)
			}
		}
		// A booker that starts has them at once.
		other := newBooker(t, dsn, 0, nil)
		if got := other.Event("gig"); got.Title != "Anew" || got.Rev != 1 {
			t.Errorf("after a start: got %+v, want Anew, rev 1", got)
		}
	})
}

// A deleted room keeps its event as long as everything else that ended; described
// again it stays for good.
func TestEventOfDeletedRoom(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		b := newBooker(t, dsn, 0, nil)
		purge := func(now time.Time) {
			t.Helper()
			b.clock.now = func() time.Time { return now }
			if _, err := b.purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		take(t, b, events.Tombstone("gig")) // of a room never heard of
		take(t, b, describedRecord("aaaaaaaa", 1000, 1, titled("Gala")), events.Tombstone("gig"), events.Tombstone("gig"))
		purge(noon.Add(config.Keep))
		take(t, b)
		if got := b.Event("gig"); got.Title != "Gala" {
			t.Errorf("of a deleted room: got %+v, want its event while visitors may be inside", got)
		}
		// A tombstone that came after the description of the room made anew is taken
		// back by the next description, though it tells nothing new.
		b.clock.now = func() time.Time { return noon }
		take(t, b, describedRecord("bbbbbbbb", 2000, 1, titled("Anew")), events.Tombstone("gig"), describedRecord("bbbbbbbb", 2000, 1, titled("Anew")))
		purge(noon.Add(2 * config.Keep))
		take(t, b)
		if got := b.Event("gig"); got.Title != "Anew" {
			t.Errorf("of a room made anew: got %+v, want Anew", got)
		}
		b.clock.now = func() time.Time { return noon }
		take(t, b, events.Tombstone("gig"))
		purge(noon.Add(config.Keep + time.Millisecond))
		take(t, b)
		if got := b.Event("gig"); got.Title != "" {
			t.Errorf("long after it was deleted: got %+v, want nothing", got)
		}
	})
}

// What can't be understood is set aside and keeps nothing else from being read; a
// database that is away moves no offset, and the pages go on with what is known.
func TestConsumeEvents(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		q := newQueue()
		b := newBooker(t, dsn, 0, func(p *Parts) { p.Publisher = q })
		wrong := describedRecord("aaaaaaaa", 1000, 1, titled("x"))
		wrong.Value, wrong.Partition, wrong.Offset = []byte(`{"room":"gig"}`), 3, 17
		good := describedRecord("aaaaaaaa", 1000, 1, titled("Gala"))
		admitted, id := admittedRecord(t)
		take(t, b, wrong, good, admitted)
		if got := b.Event("gig"); got.Title != "Gala" {
			t.Errorf("got %+v, want Gala", got)
		}
		if _, err := b.store.admission(t.Context(), id); err != nil {
			t.Errorf("the admission in the same batch: %v", err)
		}
		if dead := q.all(); len(dead) != 1 || dead[0].Topic != "waitroom.rooms.dlq" || dead[0].Headers["dlq_offset"] != "17" {
			t.Errorf("got %+v, want one dead letter with its origin", dead)
		}

		b.store.db.Close()
		for _, r := range []events.Record{describedRecord("aaaaaaaa", 1000, 2, titled("Ball")), events.Tombstone("gig")} {
			if err := b.Consume(t.Context(), []events.Record{r}); err == nil || errors.Is(err, events.ErrInvalid) {
				t.Errorf("without a database: got %v, want an error, so that the offset stays", err)
			}
		}
		if _, err := b.events.look(t.Context()); err == nil {
			t.Error("a look without a database: got no error")
		}
		if got := b.Event("gig"); got.Title != "Gala" {
			t.Errorf("without a database: got %+v, want what was known", got)
		}
		if got := b.Event("nobody"); got.Title != "" { // and no read for a name that a stranger made up
			t.Errorf("got %+v, want an empty event", got)
		}
	})
}

// Several bookers take the same descriptions in any order, while pages look: the
// newest is what stays, and no page sees an older one after a newer.
func TestEventsRace(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		bookers := []*Booker{newBooker(t, dsn, 0, nil), newBooker(t, dsn, 0, nil)}
		const revs = 12
		start := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		var writing, reading sync.WaitGroup
		for i, b := range bookers {
			for w := range 3 {
				writing.Go(func() {
					<-start
					for n := range revs {
						rev := int64((n*5+w*7+i)%revs + 1) // each in an order of its own
						if err := b.Consume(t.Context(), []events.Record{describedRecord("aaaaaaaa", 1000, rev, titled(fmt.Sprint("rev ", rev)))}); err != nil {
							t.Errorf("consume: %v", err)
						}
					}
				})
			}
			reading.Go(func() {
				<-start
				for ctx.Err() == nil {
					if _, err := b.events.look(t.Context()); err != nil {
						t.Errorf("look: %v", err)
						return
					}
				}
			})
			reading.Go(func() {
				<-start
				var last int64
				for ctx.Err() == nil {
					e := b.Event("gig")
					if e.Rev < last || e.Rev > 0 && e.Title != fmt.Sprint("rev ", e.Rev) {
						t.Errorf("got %+v after rev %d", e, last)
						return
					}
					last = e.Rev
					time.Sleep(time.Millisecond) // a page now and then, not a busy processor
				}
			})
		}
		close(start)
		writing.Wait()
		stop()
		reading.Wait()
		for _, b := range bookers {
			take(t, b)
			if got := b.Event("gig"); got.Rev != revs {
				t.Errorf("got %+v, want rev %d", got, revs)
			}
		}
	})
}

// The loop brings a change to the pages within a second, by itself.
func TestEventsLoop(t *testing.T) {
	b := newBooker(t, sqliteDSN(t), 0, func(p *Parts) {
		p.Consume = func(ctx context.Context, handle func(context.Context, []events.Record) error) error {
			if err := handle(ctx, []events.Record{describedRecord("aaaaaaaa", 1000, 1, titled("Gala"))}); err != nil {
				t.Errorf("handle: %v", err)
			}
			<-ctx.Done()
			return nil
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	await(t, "the event", func() bool { return b.Event("gig").Title == "Gala" })
	stop()
	if err := <-done; err != nil {
		t.Errorf("run: got %v, want nil", err)
	}
}

// Beyond the rooms kept in memory those that are gone are left out first.
func TestEventsBound(t *testing.T) {
	b := newBooker(t, sqliteDSN(t), 0, nil)
	var records []events.Record
	for i := range eventRooms + 1 {
		records = append(records, events.EncodeDescribed(room.Name(fmt.Sprintf("r%04d", i)), room.EventRev{Epoch: "aaaaaaaa", CreatedMS: 1, Rev: 1}, titled("x")))
	}
	take(t, b, append(records, events.Tombstone("r0000"))...)
	if got := len(*b.events.rooms.Load()); got != eventRooms {
		t.Errorf("events kept: got %d, want %d", got, eventRooms)
	}
	for name, want := range map[room.Name]string{"r0000": "", "r0001": "x", room.Name(fmt.Sprintf("r%04d", eventRooms)): "x"} {
		if got := b.Event(name); got.Title != want {
			t.Errorf("room %s: got %q, want %q", name, got.Title, want)
		}
	}
}
