package signs

import (
	"fmt"
	"slices"
	"time"

	"waitroom/internal/room"
)

// Causes that only a reader of the signs can find, beside room's stops.
const (
	NoAdmitter room.Stop = "no_admitter" // none is alive
	NotServed  room.Stop = "not_served"  // those alive leave this room out
	NoRounds   room.Stop = "no_rounds"   // they are alive and make none
)

// roundLate is how old the last round of a living admitter may be: a call to the
// line is given up after 5 s.
const roundLate = 6 * time.Second

// capQuiet is how long a full shop may let nobody in before it is called standing
// still: slots come back one by one.
const capQuiet = 10 * time.Second

// Why says why a room stands still, or that it does not.
type Why struct {
	Stands bool
	Cause  room.Stop
	Since  time.Time // the line's clock; zero when nobody knows
	Text   string    // what is so, without "since"
	Do     string    // what an operator may do; empty when there is nothing
}

// Explain finds why a room admits nobody. acts are its audit stream, the newest
// first; oldest is when the oldest admission in its outbox was made. An operator's
// word comes first, then whether anybody makes rounds, then what those find.
func Explain(status room.Status, acts []room.Act, oldest time.Time, f Fleet) Why {
	if why, stands := byState(status, acts); stands {
		return why
	}
	alive, silent := f.Of(room.RoleAdmitter)
	rounds := f.rounds(status.Name, status.Conf.Epoch)
	switch {
	case len(alive) == 0:
		return nobody(silent)
	case len(rounds) == 0:
		return Why{Stands: true, Cause: NotServed, Text: fmt.Sprintf("%s alive, but none serves this room", count(len(alive), "admitter is", "admitters are")),
			Do: "start an admitter without --room, or with --room " + string(status.Name)}
	}
	// The latest round knows best; of those that found the same, the one that has
	// found it for longest knows since when.
	a := rounds[0]
	since := a.since()
	for _, other := range rounds[1:] {
		if s := other.since(); other.Cause == a.Cause && s.Before(since) {
			since = s
		}
	}
	ago, did := a.round(f.Now)
	if !did || ago >= roundLate {
		return late(status, a, ago, did, f)
	}
	switch a.Cause {
	case room.StopPaused, room.StopOpening, room.StopClosed, room.StopSoldOut:
		// The room was changed since, and no round has lasted a second yet.
		a.Cause, since = a.Last, time.Time{}
	}
	switch a.Cause {
	case room.StopRate, "":
		return moves(status)
	case room.StopCap:
		if f.Now.Sub(since) < capQuiet {
			return moves(status)
		}
	case room.StopRecovering:
		// The sign is a second old; the line's word is not.
		if l, has := LossOf(status.Life, status.Now); a.Error == "" && !(has && l.held()) {
			return moves(status)
		}
	case room.StopEmpty:
		if status.Waiting > 0 {
			return moves(status)
		}
		return Why{Stands: true, Cause: room.StopEmpty, Since: since, Text: "nobody waits"}
	}
	return still(status, a, since, oldest, f.Now)
}

// byState explains what an operator or the shop has said.
func byState(status room.Status, acts []room.Act) (Why, bool) {
	c, name := status.Conf, status.Name
	why := Why{Stands: true}
	said := func(state room.State) (by string) {
		i := slices.IndexFunc(acts, func(a room.Act) bool { return a.State == state || a.Created })
		if i < 0 {
			return ""
		}
		why.Since = acts[i].At
		return " by " + acts[i].Actor
	}
	switch {
	case c.State == room.Closed:
		why.Cause, why.Text = room.StopClosed, "closed"+said(room.Closed)
		why.Do = fmt.Sprintf("`admitter room open %s` opens it again", name)
	case c.SoldOut:
		why.Cause, why.Text = room.StopSoldOut, "sold out: every seat is booked"
		if i := slices.IndexFunc(acts, func(a room.Act) bool { return a.SoldOut }); i >= 0 {
			why.Since = acts[i].At
		}
		why.Do = fmt.Sprintf("add seats with `booker seats`, then `admitter room reopen %s`", name)
	case c.State == room.Paused:
		why.Cause, why.Text = room.StopPaused, "paused"+said(room.Paused)
		why.Do = fmt.Sprintf("`admitter resume %s` lets visitors in again", name)
	case c.State == room.Opening && (c.OpensAt.IsZero() || status.Now.Before(c.OpensAt)):
		why.Cause, why.Text = room.StopOpening, "not open yet, set"+said(room.Opening)
		why.Do = fmt.Sprintf("`admitter room open %s` opens it", name)
		if !c.OpensAt.IsZero() {
			why.Do = fmt.Sprintf("it opens by itself at %s, %s now", At(c.OpensAt, status.Now), why.Do)
		}
	default:
		return Why{}, false
	}
	return why, true
}

// nobody explains that no admitter is alive.
func nobody(silent []room.Sign) Why {
	why := Why{Stands: true, Cause: NoAdmitter, Text: "no admitter is alive", Do: "start `admitter run`"}
	if len(silent) > 0 {
		last, how := silent[0], "fell silent"
		if last.Stopped {
			how = "was stopped"
		}
		why.Since = last.At
		why.Text += fmt.Sprintf("; the last one, %s on %s, %s", last.ID, last.Host, how)
	} else {
		why.Text += fmt.Sprintf(", nor was one in the last %d minutes", int(room.SignKept.Minutes()))
	}
	return why
}

// moves says what a room that is well does.
func moves(status room.Status) Why {
	if inside := status.Unclaimed + status.Active; inside >= status.Conf.MaxActive {
		return Why{Cause: room.StopCap, Text: "visitors are let in as slots come back",
			Do: fmt.Sprintf("`admitter set %s --max-active N` lets more in at once", status.Name)}
	}
	if status.Waiting == 0 {
		return Why{Cause: room.StopRate, Text: "visitors are let in as they come"}
	}
	return Why{Cause: room.StopRate, Text: "visitors are let in"}
}

// late explains an admitter that signs and makes no rounds. The cause that its
// failing rounds found is told too.
func late(status room.Status, a about, ago time.Duration, did bool, f Fleet) Why {
	why := Why{Stands: true, Cause: NoRounds, Do: "look at its log; start it again"}
	why.Text = fmt.Sprintf("admitter %s on %s lives and makes no rounds", a.by.ID, a.by.Host)
	if did {
		why.Since = f.Now.Add(-ago)
	}
	switch a.Cause {
	case room.StopAway, room.StopRecovering, room.StopUnknown, room.StopError:
		known := still(room.Status{Name: status.Name}, a, a.since(), time.Time{}, f.Now)
		known.Since = why.Since
		return known
	}
	return why
}

// still explains what the rounds find.
func still(status room.Status, a about, since, oldest, now time.Time) Why {
	why := Why{Stands: true, Cause: a.Cause, Since: since}
	switch a.Cause {
	case room.StopCap:
		why.Text = fmt.Sprintf("every slot is taken, %d of %d", status.Unclaimed+status.Active, status.Conf.MaxActive)
		why.Do = fmt.Sprintf("wait for slots to come back, or `admitter set %s --max-active N` if the shop can bear more", status.Name)
	case room.StopOutbox:
		why.Text = fmt.Sprintf("%d admissions wait for Kafka", status.Outbox)
		if !oldest.IsZero() {
			why.Text += ", the oldest made " + At(oldest, now)
		}
		why.Do = "see that Kafka takes records: the admitter's log says what it answers"
	case room.StopAway:
		why.Text = fmt.Sprintf("admitter %s on %s can't reach Redis for its rounds", a.by.ID, a.by.Host)
		why.Do = "look at Redis and the way to it"
	case room.StopRecovering:
		if l, has := LossOf(status.Life, status.Now); has && l.held() {
			why.Since = status.Life.LostAt
			why.Text = "Redis lost writes, and everybody who waits is behind the loss: " + l.places()
			why.Do = "admission goes on by itself at " + At(status.Life.HoldUntil, status.Now) + ", so that nobody who comes back is overtaken"
			break
		}
		why.Text = "Redis has lost the line that its admitter knows"
		why.Do = bringBack(status.Name)
	case room.StopUnknown:
		why.Text = "its admitter knows it as deleted or made anew"
		why.Do = "wait a second: it looks again"
	default:
		why.Text = fmt.Sprintf("rounds of admitter %s on %s fail", a.by.ID, a.by.Host)
		why.Do = "look at its log"
	}
	if a.Error != "" {
		why.Text += " (" + a.Error + ")"
	}
	return why
}

// Recovering explains a room whose line can't be read: listed, and its data gone.
func Recovering(name room.Name) Why {
	return Why{Stands: true, Cause: room.StopRecovering, Text: "the room is listed and Redis has lost its line", Do: bringBack(name)}
}

// bringBack is what may be done for a line that is gone.
func bringBack(name room.Name) string {
	return fmt.Sprintf("a node or admitter that remembers it brings it back within seconds; when none does, `admitter room create %s --epoch E` does, with its places", name)
}

// String is the whole sentence; now is the line's clock.
func (w Why) String(now time.Time) string {
	text := w.Text
	if w.Stands {
		text = "stands still: " + text
	}
	if !w.Since.IsZero() {
		text += ", since " + At(w.Since, now)
	}
	if w.Do != "" {
		text += "; " + w.Do
	}
	return text
}

// String says which of cap and rate rules.
func (p Pace) String() string {
	rules := "the rate rules"
	if p.Cap < p.Rate {
		rules = "the cap rules"
	}
	if !p.Measured {
		if p.Cap < p.Rate {
			rules = "the cap may rule"
		}
		return fmt.Sprintf("the cap allows at least %s a second, at %s inside, the longest stay; the rate is %s: %s",
			number(p.Cap), Span(p.Inside), number(p.Rate), rules)
	}
	return fmt.Sprintf("the cap allows about %s a second at %s inside; the rate is %s: %s",
		number(p.Cap), Span(p.Inside), number(p.Rate), rules)
}

// number has two digits that count, and no more than a person reads.
func number(x float64) string {
	switch {
	case x >= 10 || x == float64(int64(x)):
		return fmt.Sprintf("%.0f", x)
	case x >= 1:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// At is a time as people read it: when, and how far from now.
func At(t, now time.Time) string {
	when := t.UTC().Format(time.RFC3339)
	switch d := t.Sub(now); {
	case d > 0:
		return when + " (in " + Span(d) + ")"
	default:
		return when + " (" + Span(-d) + " ago)"
	}
}

// Span is a duration in its two greatest units.
func Span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "m")
	}
	return two(d, 24*time.Hour, "d", time.Hour, "h")
}

func two(d, unit time.Duration, u string, part time.Duration, p string) string {
	text := fmt.Sprintf("%d%s", d/unit, u)
	if rest := d % unit / part; rest > 0 {
		text += fmt.Sprintf("%d%s", rest, p)
	}
	return text
}
