package linetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"waitroom/internal/room"
)

func (a *admitter) finish() {
	t, p := a.t, a.Join(6)
	a.round("four", 4, 4, room.StopMore)
	a.Claim(p[0])
	a.Leave(p[3])
	done := func(what string, want int, places ...room.Place) {
		t.Helper()
		if freed, err := a.Line.FinishAll(a.ctx, a.Name, a.by(), places); err != nil || freed != want {
			t.Errorf("%s: got %d freed, %v, want %d", what, freed, err, want)
		}
	}
	stranger := room.Place{Visitor: room.NewVisitorID(), Number: 2}
	done("claimed, unclaimed, left, a stranger, one again", 2, p[0], p[1], p[3], stranger, p[0])
	done("a repeat", 0, p[0], p[1])
	done("nobody", 0)
	if r := a.round("slots", 0, 0, room.StopMore); r.Slots != 1 || r.Waiting != 2 {
		t.Errorf("got %+v, want one slot taken", r)
	}
	// The line may have lost an admission: whoever bought is not let in again.
	done("one who waits", 1, p[4])
	if r := a.round("the others", 10, 1, room.StopEmpty); r.Last != 6 {
		t.Errorf("got %+v, want number 6 alone", r)
	}
	// Nor does anybody come back to a number that the shop knows and the line does not.
	lost := room.Place{Visitor: room.NewVisitorID(), Number: 30}
	done("a number above the line", 0, lost)
	if got := a.Rejoin(lost); got != room.Gone {
		t.Errorf("its visitor: got %v, want gone", got)
	}
	if got := a.Rejoin(room.Place{Visitor: room.NewVisitorID(), Number: 29}); got != room.Waiting {
		t.Errorf("the visitor before it: got %v, want waiting", got)
	}
}

func (a *admitter) status() {
	t := a.t
	p := a.Join(8)
	a.round("five", 5, 5, room.StopMore)
	a.Claim(p[0])
	a.Claim(p[1])
	a.Finish(p[1])
	a.Leave(p[2])
	a.Leave(p[7])
	s, err := a.Line.Status(a.ctx, a.Name)
	must(t, "status", err)
	if s.Name != a.Name || s.Seq != 8 || s.Head != 6 || s.Waiting != 2 || s.Unclaimed != 2 || s.Active != 1 || s.Outbox != 5 || !near(a.Now().Sub(s.Now), 0) {
		t.Errorf("got %+v, want 6 and 7 waiting, 4 and 5 unclaimed, 1 active", s)
	}
	if want := (room.Stats{Joined: 8, Admitted: 5, Claimed: 2, Left: 2, Finished: 1}); s.Stats != want {
		t.Errorf("got %+v, want %+v", s.Stats, want)
	}
	c := s.Conf
	if c.Epoch != a.Conf.Epoch || c.Rate != a.Conf.Rate || c.Burst != a.Conf.Burst || c.MaxActive != a.Conf.MaxActive || c.Claim != a.Conf.Claim ||
		c.Pass != a.Conf.Pass || c.Grace != a.Conf.Grace || c.State != room.Open || c.SoldOut || s.Saved.Epoch() != c.Epoch {
		t.Errorf("got conf %+v, want %+v", c, a.Conf)
	}
	a.Pass(a.Conf.Claim + a.Conf.Pass)
	a.round("a round later", 0, 0, room.StopMore)
	if s, err = a.Line.Status(a.ctx, a.Name); err != nil || s.Stats.Missed != 2 || s.Stats.Lapsed != 1 || s.Unclaimed+s.Active != 0 {
		t.Errorf("later: got %+v, %v, want two missed and one lapsed", s, err)
	}
	a.round("the rest", 10, 2, room.StopEmpty)
	if s, err = a.Line.Status(a.ctx, a.Name); err != nil || s.Head != 9 || s.Waiting != 0 {
		t.Errorf("at last: got %+v, %v, want an empty line", s, err)
	}
}

// set: values of flags are applied where they are others than the flag's last, so that a
// restart does not undo what an operator did meanwhile.
func (a *admitter) set() {
	t := a.t
	flags := room.Change{Actor: "flags", FromFlags: true, Rate: ptr(room.Rate(50_000))}
	set := func(what string, ch room.Change, fields int, rate room.Rate) {
		t.Helper()
		before := a.rev()
		got, err := a.Line.Set(a.ctx, a.Name, ch)
		after, err2 := a.Line.Status(a.ctx, a.Name)
		must(t, what, errors.Join(err, err2))
		if len(got.Fields) != fields || got.Rev != after.Conf.Rev || (after.Conf.Rev > before) != (fields > 0) || after.Conf.Rate != rate {
			t.Errorf("%s: got %+v, rate %s, want %d fields changed and rate %s", what, got, after.Conf.Rate, fields, rate)
		}
	}
	set("a flag", flags, 1, 50_000)
	set("the flag again", flags, 0, 50_000)
	set("an operator", room.Change{Actor: "ann", Rate: ptr(room.Rate(80_000))}, 1, 80_000)
	set("the flag, after a restart", flags, 0, 80_000)
	flags.Rate = ptr(room.Rate(60_000))
	set("another flag", flags, 1, 60_000)
	if r := a.round("a round", 0, 0, room.StopEmpty); r.Rate != 60_000 {
		t.Errorf("a round: got rate %s, want 60", r.Rate)
	}
}

// loss: a mark above the line fences it. Who waits before the loss is let in, who joins
// behind it waits until those between had time to come back.
func (a *admitter) loss() {
	t := a.t
	a.Join(3)
	before, err := a.Line.Status(a.ctx, a.Name)
	must(t, "status", err)
	a.mark = 20
	// What the credit was is not known either: it begins at none.
	if r := a.round("with a mark above the line", 2, 0, room.StopRate); r.Seq < 20 || r.Losses != before.Life.Fences+1 {
		t.Errorf("got %+v, want a loss told, and the last number at 20 or above", r)
	}
	// An act that was lost may still come back: no other is made before.
	_, err = a.Line.Set(a.ctx, a.Name, room.Change{Actor: "ann", MaxActive: ptr(int64(70))})
	want(t, "an act meanwhile", err, room.ErrRecovering)
	_, err = a.Line.Stock(a.ctx, a.Name, a.Conf.Epoch, room.Stock{Rev: 5})
	want(t, "a fact meanwhile", err, room.ErrRecovering)
	a.Pass(100 * time.Millisecond)
	a.round("a moment later", 2, 2, room.StopMore)
	s, err := a.Line.Status(a.ctx, a.Name)
	if err != nil || s.Life.ID == before.Life.ID || s.Life.Lost < 17 || s.Life.LostAt.IsZero() || !s.Life.HoldUntil.After(a.Now()) {
		t.Errorf("got %+v, %v, want another life that lost 17 numbers", s.Life, err)
	}
	lost := room.Place{Visitor: room.NewVisitorID(), Number: 12}
	if got := a.Rejoin(lost); got != room.Waiting {
		t.Fatalf("who was lost: got %v, want waiting", got)
	}
	if r := a.round("before the hold is over", 10, 1, room.StopRecovering); r.Last != 3 || r.Waiting != 1 {
		t.Errorf("got %+v, want number 3 alone", r)
	}
	a.Pass(settled)
	for range 2 { // the round that begins may still ask
		if _, err := a.Line.Admit(a.ctx, a.Name, a.by(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if r := a.round("after it", 10, 1, room.StopEmpty); r.Last != 12 {
		t.Errorf("got %+v, want number 12", r)
	}
	_, err = a.Line.Set(a.ctx, a.Name, room.Change{Actor: "ann", MaxActive: ptr(int64(70))})
	want(t, "an act after it", err, nil)
}

func (a *admitter) recreated() {
	t, p := a.t, a.Join(5)
	a.round("one", 1, 1, room.StopMore)
	status := func() room.Status {
		t.Helper()
		s, err := a.Line.Status(a.ctx, a.Name)
		must(t, "status", err)
		return s
	}
	open := status()
	a.Set(room.Change{Actor: "ann", State: ptr(room.Paused)})
	paused := status()
	a.Lose()
	_, err := a.Line.Admit(a.ctx, a.Name, a.by(), 1)
	want(t, "a round of a lost line", err, room.ErrUnknown)
	must(t, "recreate", a.Line.Recreate(a.ctx, a.Name, a.by(), open.Saved))
	back := status()
	if back.Conf.Epoch != open.Conf.Epoch || back.Conf.Rate != open.Conf.Rate || back.Conf.State != room.Open || back.Conf.Rev != open.Conf.Rev ||
		back.Seq < 5 || back.Waiting != 0 || back.Life.ID == open.Life.ID || back.Outbox != 0 || back.Unclaimed != 0 {
		t.Errorf("got %+v, want the room of %+v without a visitor", back, open)
	}
	if names, err := a.Line.Rooms(a.ctx); err != nil || !slices.Contains(names, a.Name) {
		t.Errorf("got rooms %v, %v, want it listed", names, err)
	}
	if got := a.Rejoin(p[3]); got != room.Waiting {
		t.Errorf("who waited: got %v, want waiting", got)
	}
	must(t, "recreate by who knows a pause", a.Line.Recreate(a.ctx, a.Name, a.by(), paused.Saved))
	a.round("then", 10, 0, room.StopPaused)
	must(t, "recreate by who does not", a.Line.Recreate(a.ctx, a.Name, a.by(), open.Saved))
	a.round("still", 10, 0, room.StopPaused)
	if s := status(); s.Waiting != 1 || s.Conf.Rev != paused.Conf.Rev {
		t.Errorf("got %+v, want who came back, and the rev of the pause", s)
	}
	foreigner := room.Saved{Conf: maps.Clone(open.Saved.Conf), Life: open.Saved.Life}
	foreigner.Conf["epoch"] = string(foreign)
	want(t, "recreate of another epoch", a.Line.Recreate(a.ctx, a.Name, room.Caller{Epoch: foreign, Process: "admitter"}, foreigner), room.ErrEpoch)
}

func (a *admitter) ended() {
	a.Join(1)
	s, err := a.Line.Status(a.ctx, a.Name)
	must(a.t, "status", err)
	a.Delete()
	want(a.t, "recreate", a.Line.Recreate(a.ctx, a.Name, a.by(), s.Saved), room.ErrDeleted)
	if names, err := a.Line.Rooms(a.ctx); err != nil || slices.Contains(names, a.Name) {
		a.t.Errorf("got rooms %v, %v, want it to be gone", names, err)
	}
	removed, err := a.Line.Expire(a.ctx)
	if err != nil || slices.Contains(removed, a.Name) {
		a.t.Errorf("expiry: got %v, %v, want nothing of a room that is gone", removed, err)
	}
}

func (a *admitter) away() {
	t, p := a.t, a.Join(20)
	a.Leave(p[6])
	a.Absent(3, 5, 12)
	look := func(what string, limit int, want ...room.Number) {
		t.Helper()
		if got, err := a.Line.Away(a.ctx, a.Name, limit); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
		}
	}
	look("nobody saw them", 10, 3, 5, 12)
	look("a limit", 2, 3, 5)
	a.Seen(p[4]) // comes back between the look and the act
	reaped, err := a.Line.Reap(a.ctx, a.Name, a.by(), []room.Number{3, 5, 7, 8, 12})
	if err != nil || reaped != 2 {
		t.Errorf("got %d, %v, want two: one came back, one had left, one was seen all the time", reaped, err)
	}
	look("afterwards", 10)
	if reaped, err = a.Line.Reap(a.ctx, a.Name, a.by(), []room.Number{3, 12}); err != nil || reaped != 0 {
		t.Errorf("again: got %d, %v, want nobody", reaped, err)
	}
	for i, want := range map[int]room.Standing{2: room.Away, 4: room.Waiting, 6: room.Gone, 7: room.Waiting, 11: room.Away} {
		if got := a.Rejoin(p[i]); got != want {
			t.Errorf("place %d: got %v, want %v", i+1, got, want)
		}
	}
	if r := a.round("then", 20, 17, room.StopEmpty); r.Last != 20 {
		t.Errorf("got %+v, want the other 17 let in", r)
	}
}

// unsure: while part of the grace was told by nobody, nobody is taken out.
func (a *admitter) unsure() {
	a.Join(5)
	a.Unsure()
	numbers, err := a.Line.Away(a.ctx, a.Name, 10)
	if want(a.t, "look", err, room.ErrUnsure); len(numbers) != 0 {
		a.t.Errorf("look: got %v beside the error", numbers)
	}
	reaped, err := a.Line.Reap(a.ctx, a.Name, a.by(), []room.Number{1, 2})
	if want(a.t, "reap", err, room.ErrUnsure); reaped != 0 {
		a.t.Errorf("reap: got %d beside the error", reaped)
	}
	if s, err := a.Line.Status(a.ctx, a.Name); err != nil || s.Waiting != 5 {
		a.t.Errorf("got %d waiting, %v, want all five", s.Waiting, err)
	}
}

// lanes: an admitter finds the last batch of a node that died, and gives it back.
func (a *admitter) lanes() {
	t := a.t
	if got, err := a.Line.Lanes(a.ctx, a.Name); err != nil || len(got) != 0 {
		t.Errorf("of an empty room: got %v, %v", got, err)
	}
	a.Join(2)
	p := a.Join(3)
	at := a.Now()
	got, err := a.Line.Lanes(a.ctx, a.Name)
	if err != nil || len(got) != 1 || got[0].First != 3 || got[0].Granted != 3 || got[0].Epoch != a.Conf.Epoch || !near(at.Sub(got[0].At), 0) {
		t.Fatalf("got %+v, %v, want the lane's last batch, 3 to 5", got, err)
	}
	a.round("three", 3, 3, room.StopMore)
	given, err := a.Line.GiveBack(a.ctx, a.Name, a.by(), got[0].Lane, true)
	if err != nil || given != 2 {
		t.Errorf("got %d, %v, want the two who wait", given, err)
	}
	if given, err = a.Line.GiveBack(a.ctx, a.Name, a.by(), got[0].Lane, true); err != nil || given != 0 {
		t.Errorf("again: got %d, %v, want nobody", given, err)
	}
	if got, err = a.Line.Lanes(a.ctx, a.Name); err != nil || len(got) != 0 {
		t.Errorf("afterwards: got %+v, %v, want no batch", got, err)
	}
	a.round("then", 10, 0, room.StopEmpty)
	if got := a.Rejoin(p[2]); got != room.Waiting {
		t.Errorf("who was told its place: got %v, want waiting", got)
	}
	if r := a.round("who came back", 10, 1, room.StopEmpty); r.Last != 5 {
		t.Errorf("got %+v, want number 5", r)
	}
}

// refused makes every call about a room that is refused alike.
func (a *admitter) refused(name room.Name, by room.Caller, why error) {
	t := a.t
	p := room.Place{Visitor: room.NewVisitorID(), Number: 1}
	_, err := a.Line.Admit(a.ctx, name, by, 10)
	want(t, "admit", err, why)
	_, err = a.Line.FinishAll(a.ctx, name, by, []room.Place{p})
	want(t, "finish", err, why)
	_, err = a.Line.Stock(a.ctx, name, by.Epoch, room.Stock{Rev: 1})
	want(t, "stock", err, why)
	want(t, "relayed", a.Line.Relayed(a.ctx, name, by, []room.Entry{{ID: "1-1", Count: 1}}), why)
	_, err = a.Line.GiveBack(a.ctx, name, by, room.Lane{Name: "node-0", Batch: 1}, true)
	want(t, "give back", err, why)
	_, err = a.Line.Reap(a.ctx, name, by, []room.Number{1})
	want(t, "reap", err, why)
}

func (a *admitter) epochs() {
	t := a.t
	a.Join(3)
	a.round("one", 1, 1, room.StopMore)
	before, err := a.Line.Status(a.ctx, a.Name)
	must(t, "status", err)
	a.refused(a.Name, room.Caller{Epoch: foreign, Mark: 900, Process: "admitter"}, room.ErrEpoch)
	after, err := a.Line.Status(a.ctx, a.Name)
	if err != nil || after.Stats != before.Stats || after.Conf != before.Conf || after.Seq != before.Seq || after.Outbox != 1 || after.Unclaimed != 1 {
		t.Errorf("got %+v, %v, want it as before: %+v", after, err, before)
	}
}

func (a *admitter) nowhere() {
	t := a.t
	nothing := func(name room.Name) {
		t.Helper()
		a.refused(name, a.by(), room.ErrUnknown)
		_, err := a.Line.Status(a.ctx, name)
		want(t, "status", err, room.ErrUnknown)
		_, err = a.Line.Set(a.ctx, name, room.Change{Actor: "ann", Rate: ptr(room.Rate(1_000))})
		want(t, "set", err, room.ErrUnknown)
		// Plain reads find nothing, as of a room in which nothing happened.
		entries, err1 := a.Line.ReadOutbox(a.ctx, name, 10)
		lanes, err2 := a.Line.Lanes(a.ctx, name)
		oldest, err3 := a.Line.Oldest(a.ctx, name)
		away, err4 := a.Line.Away(a.ctx, name, 10)
		if err := errors.Join(err1, err2, err3, err4, a.Line.Keep(a.ctx, name, []string{"1-1"})); err != nil || len(entries)+len(lanes)+len(away) > 0 || !oldest.IsZero() {
			t.Errorf("reads: got %v, %v, %v, %v, %v, want nothing", entries, lanes, oldest, away, err)
		}
	}
	nothing(stranger)
	a.Join(1)
	a.round("one", 1, 1, room.StopEmpty)
	a.Delete()
	nothing(a.Name)
}

func (a *admitter) signs() {
	sign := room.Sign{ID: "p-of-" + string(a.Name), Role: room.RoleNode, Host: "h", UpMS: 5}
	a.Sign(sign)
	at := a.Now()
	a.Pass(3 * time.Second)
	now, all, err := a.Line.Signs(a.ctx)
	i := slices.IndexFunc(all, func(s room.Sign) bool { return s.ID == sign.ID })
	if err != nil || i < 0 || all[i].Role != room.RoleNode || all[i].Host != "h" || !near(at.Sub(all[i].At), 0) || !near(now.Sub(all[i].At), 3*time.Second) {
		a.t.Errorf("got %v, %+v, %v, want the sign, 3 s old", now, all, err)
	}
}
