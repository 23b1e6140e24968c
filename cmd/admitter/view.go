package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/signs"
)

// statusView is a room's status in the project's words, for JSON and for people.
// Fields are additive: scripts read them.
type statusView struct {
	Room       string    `json:"room"`
	Now        string    `json:"now"` // the line's clock
	Why        whyView   `json:"why"`
	Loss       *lossView `json:"loss,omitempty"`
	Epoch      string    `json:"epoch"`
	State      string    `json:"state"`
	Shown      string    `json:"shown"` // what visitors are told
	OpensAt    string    `json:"opens_at,omitempty"`
	Event      eventView `json:"event"`
	SoldOut    bool      `json:"sold_out"`
	StockRev   int64     `json:"stock_rev,omitempty"` // what the line knows of the shop's stock
	Rate       string    `json:"rate"`                // per second
	Burst      int64     `json:"burst"`
	MaxActive  int64     `json:"max_active"`
	MaxWaiting int64     `json:"max_waiting"`
	ClaimMS    int64     `json:"claim_ms"`
	PassMS     int64     `json:"pass_ms"`
	GraceMS    int64     `json:"grace_ms"` // how long a waiting visitor whom no node sees keeps the place
	ShopURL    string    `json:"shop_url,omitempty"`
	Notice     string    `json:"notice,omitempty"`
	Rev        int64     `json:"rev"`
	Waiting    int64     `json:"waiting"`
	Unclaimed  int64     `json:"unclaimed"`
	Active     int64     `json:"active"`
	Outbox     int64     `json:"outbox"`
	OldestMS   int64     `json:"outbox_oldest_ms"` // how long the oldest has waited for Kafka
	Seq        int64     `json:"seq"`
	Head       int64     `json:"head"`
	Lately     rateView  `json:"lately"`
	Pace       paceView  `json:"pace"`
	Stats      statsView `json:"stats"`
	Admitters  []signOf  `json:"admitters"` // those that signed in the last 10 minutes
	Nodes      []signOf  `json:"nodes"`
	Deleted    *endView  `json:"deleted,omitempty"` // then all else but why and acts is empty
	Acts       []actView `json:"acts,omitempty"`

	// For people alone.
	now     time.Time
	opensAt time.Time
	life    room.Life
	why     signs.Why
	pace    signs.Pace
}

// endView says who ended a room for good.
type endView struct {
	Epoch string `json:"epoch,omitempty"` // "" where the line had been lost before
	At    string `json:"at"`
	Actor string `json:"actor"`
}

// whyView says why a room admits nobody, or that it does.
type whyView struct {
	Stands bool   `json:"stands"` // nobody is admitted
	Cause  string `json:"cause"`
	Since  string `json:"since,omitempty"`
	Text   string `json:"text"`
	Do     string `json:"do,omitempty"`
}

// rateView is what was admitted in the last minute, or over the part of it of
// which anybody knows.
type rateView struct {
	Admitted int64 `json:"admitted"`
	OverMS   int64 `json:"over_ms"`
}

// paceView compares cap and rate: what each allows a second.
type paceView struct {
	Rate     float64 `json:"rate"`
	Cap      float64 `json:"cap"`
	InsideMS int64   `json:"inside_ms"`
	Measured bool    `json:"measured"` // false: inside_ms is the longest stay there can be
}

// signOf is one process and what it says of the room.
type signOf struct {
	ID      string `json:"id"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	State   string `json:"state"` // alive, silent or stopped
	AgoMS   int64  `json:"ago_ms"`
	UpMS    int64  `json:"up_ms"` // at its last sign

	Serves  bool   `json:"serves"` // the room
	Cause   string `json:"cause,omitempty"`
	CauseMS int64  `json:"cause_ms,omitempty"`
	Last    string `json:"last,omitempty"`     // of the last round, where it differs
	RoundMS *int64 `json:"round_ms,omitempty"` // since the last round
	Error   string `json:"error,omitempty"`

	Visitors int64 `json:"visitors,omitempty"`
	StaleMS  int64 `json:"stale_ms,omitempty"`
}

type statsView struct {
	Joined   int64 `json:"joined"`
	Admitted int64 `json:"admitted"`
	Claimed  int64 `json:"claimed"`
	Missed   int64 `json:"missed"`
	Left     int64 `json:"left"`
	Away     int64 `json:"away"`
	Finished int64 `json:"finished"`
	Lapsed   int64 `json:"lapsed"`
	Refused  int64 `json:"refused"`
}

type actView struct {
	At    string `json:"at"`
	Actor string `json:"actor"`
	What  string `json:"what"`
}

func view(s room.Status, acts []room.Act, oldest time.Time, fleet signs.Fleet) statusView {
	c := s.Conf
	why, pace := signs.Explain(s, acts, oldest, fleet), fleet.Pace(s)
	admitted, over := fleet.Lately(s)
	v := statusView{
		Room: string(s.Name), Now: s.Now.UTC().Format(time.RFC3339Nano), Why: whyOf(why),
		Epoch: string(c.Epoch), State: string(c.State),
		Shown: string(c.Shown(s.Waiting, s.Now)), SoldOut: c.SoldOut, StockRev: c.StockRev,
		Rate: c.Rate.String(), Burst: c.Burst, MaxActive: c.MaxActive, MaxWaiting: c.MaxWaiting,
		ClaimMS: c.Claim.Milliseconds(), PassMS: c.Pass.Milliseconds(), GraceMS: c.Grace.Milliseconds(), ShopURL: c.ShopURL, Notice: c.Notice, Rev: c.Rev,
		Waiting: s.Waiting, Unclaimed: s.Unclaimed, Active: s.Active, Outbox: s.Outbox,
		Seq: int64(s.Seq), Head: int64(s.Head), Stats: statsView(s.Stats),
		Lately:    rateView{admitted, over.Milliseconds()},
		Pace:      paceView{pace.Rate, pace.Cap, pace.Inside.Milliseconds(), pace.Measured},
		Admitters: signsOf(fleet, room.RoleAdmitter, s.Name), Nodes: signsOf(fleet, room.RoleNode, s.Name),
		Loss: lossOf(s.Life, s.Now),
		now:  s.Now, opensAt: c.OpensAt, life: s.Life, why: why, pace: pace,
	}
	// As nodes show it: closed and sold out a room is all the same.
	if shown := c.Shown(s.Waiting, s.Now); v.Loss != nil && v.Loss.Recovering && shown != room.ShownClosed && shown != room.ShownSoldOut {
		v.Shown = string(room.ShownRecovering)
	}
	if !oldest.IsZero() {
		v.OldestMS = max(0, s.Now.Sub(oldest).Milliseconds())
	}
	if !c.OpensAt.IsZero() {
		v.OpensAt = c.OpensAt.UTC().Format(time.RFC3339Nano)
	}
	return v
}

// lostView is all there is to say of a room whose line is gone.
func lostView(name room.Name, fleet signs.Fleet) *statusView {
	why := signs.Recovering(name)
	return &statusView{Room: string(name), Now: fleet.Now.UTC().Format(time.RFC3339Nano), Why: whyOf(why),
		Shown: string(room.ShownRecovering), Admitters: signsOf(fleet, room.RoleAdmitter, name),
		Nodes: signsOf(fleet, room.RoleNode, name), now: fleet.Now, why: why}
}

// deletedView is all there is to say of a room that was ended for good.
func deletedView(name room.Name, stone room.Tombstone, fleet signs.Fleet) *statusView {
	why := signs.Why{Stands: true, Cause: "deleted", Text: "deleted by " + stone.Actor, Since: stone.At}
	return &statusView{Room: string(name), Now: fleet.Now.UTC().Format(time.RFC3339Nano), Why: whyOf(why),
		Deleted:   &endView{string(stone.Epoch), stone.At.UTC().Format(time.RFC3339Nano), stone.Actor},
		Admitters: signsOf(fleet, room.RoleAdmitter, name), Nodes: signsOf(fleet, room.RoleNode, name), now: fleet.Now, why: why}
}

func whyOf(w signs.Why) whyView {
	v := whyView{Stands: w.Stands, Cause: string(w.Cause), Text: w.Text, Do: w.Do}
	if !w.Since.IsZero() {
		v.Since = w.Since.UTC().Format(time.RFC3339Nano)
	}
	return v
}

func signsOf(fleet signs.Fleet, role room.Role, name room.Name) []signOf {
	alive, silent := fleet.Of(role)
	all := make([]signOf, 0, len(alive)+len(silent))
	for _, s := range append(alive, silent...) {
		v := signOf{ID: s.ID, Host: s.Host, PID: s.PID, Version: s.Version, State: "silent", AgoMS: fleet.Ago(s).Milliseconds(), UpMS: s.UpMS}
		switch {
		case fleet.Alive(s):
			v.State = "alive"
		case s.Stopped:
			v.State = "stopped"
		}
		for _, r := range s.Rooms {
			if r.Room != name {
				continue
			}
			v.Serves = true
			v.Cause, v.CauseMS, v.Last, v.Error = string(r.Cause), r.CauseMS, string(r.Last), r.Error
			v.Visitors, v.StaleMS = r.Visitors, r.StaleMS
			if role == room.RoleAdmitter && r.RoundMS >= 0 {
				ago := r.RoundMS + v.AgoMS
				v.RoundMS = &ago
			}
		}
		all = append(all, v)
	}
	return all
}

// print shows a room to people; detail adds what each process says of it.
func (v *statusView) print(out io.Writer, detail bool) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s\n", v.Room)
	if v.Deleted != nil {
		fmt.Fprintf(w, "  %s, since %s\n", v.why.Text, signs.At(v.why.Since, v.now))
	} else {
		fmt.Fprintf(w, "  %s\n", v.why.String(v.now))
	}
	if v.Epoch == "" { // the line is gone
		v.printActs(row)
		w.Flush()
		return
	}
	row("state", "%s (visitors see: %s), epoch %s, rev %d", v.State, v.Shown, v.Epoch, v.Rev)
	printLoss(row, v.life, v.now)
	if v.StockRev > 0 {
		row("stock", "rev %d is the newest the shop told, sold out: %t", v.StockRev, v.SoldOut)
	}
	if !v.opensAt.IsZero() {
		row("opens at", "%s", signs.At(v.opensAt, v.now))
	}
	v.printRounds(row, detail)
	row("waiting", "%d of at most %d", v.Waiting, v.MaxWaiting)
	row("inside", "%d of %d (%d unclaimed, %d active)", v.Unclaimed+v.Active, v.MaxActive, v.Unclaimed, v.Active)
	row("rate", "%s per second, burst %d", v.Rate, v.Burst)
	row("pace", "%s", v.pace)
	row("admitted", "%s", v.lately())
	row("claim", "%s, pass %s, grace %s", time.Duration(v.ClaimMS)*time.Millisecond, time.Duration(v.PassMS)*time.Millisecond,
		time.Duration(v.GraceMS)*time.Millisecond)
	oldest := ""
	if v.Outbox > 0 {
		oldest = ", the oldest for " + signs.Span(time.Duration(v.OldestMS)*time.Millisecond)
	}
	row("outbox", "%d not yet in Kafka%s", v.Outbox, oldest)
	s := v.Stats
	row("so far", "%d joined, %d admitted, %d claimed, %d missed, %d left, %d away, %d finished, %d lapsed, %d refused",
		s.Joined, s.Admitted, s.Claimed, s.Missed, s.Left, s.Away, s.Finished, s.Lapsed, s.Refused)
	if v.ShopURL != "" {
		row("shop", "%s", v.ShopURL)
	}
	if v.Notice != "" {
		row("notice", "%s", strings.Join(strings.Fields(v.Notice), " "))
	}
	v.Event.print(row)
	v.printActs(row)
	w.Flush()
}

func (v *statusView) printActs(row func(label, format string, args ...any)) {
	for _, act := range v.Acts {
		row(act.At, "%s: %s", act.Actor, act.What)
	}
}

// printRounds shows the last round, of all the admitters that live; with detail,
// each one's, and each node that has visitors of the room.
func (v *statusView) printRounds(row func(label, format string, args ...any), detail bool) {
	var latest *signOf
	for i, s := range v.Admitters {
		if s.State != "alive" || !s.Serves {
			continue
		}
		if detail {
			row("admitter", "%s on %s: last round %s", s.ID, s.Host, s.rounds(v.now))
		}
		if s.RoundMS != nil && (latest == nil || *s.RoundMS < *latest.RoundMS) {
			latest = &v.Admitters[i]
		}
	}
	switch {
	case detail:
	case latest == nil:
		row("last round", "none by an admitter that lives")
	default:
		row("last round", "%s", latest.rounds(v.now))
	}
	for _, s := range v.Nodes {
		if detail && s.State == "alive" && s.Visitors > 0 {
			row("node", "%s on %s: %d visitors, positions %s old", s.ID, s.Host, s.Visitors, signs.Span(time.Duration(s.StaleMS)*time.Millisecond))
		}
	}
}

// rounds is what one admitter's rounds find, and since when.
func (s signOf) rounds(now time.Time) string {
	if s.RoundMS == nil {
		return "none yet" + parens(s.Error)
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	ago := signs.Span(ms(*s.RoundMS))
	if s.Last != "" { // which has not lasted a second
		return fmt.Sprintf("%s ago stopped for %s, %s until then%s", ago, s.Last, s.Cause, parens(s.Error))
	}
	return fmt.Sprintf("%s ago stopped for %s, so since %s%s", ago, s.Cause,
		signs.At(now.Add(-ms(s.AgoMS+s.CauseMS)), now), parens(s.Error))
}

func parens(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func (v *statusView) lately() string {
	over := time.Duration(v.Lately.OverMS) * time.Millisecond
	switch {
	case over == 0:
		return "nobody knows how many lately: no admitter has signed"
	case over < time.Minute:
		return fmt.Sprintf("%d in the last %s, as far as any admitter remembers", v.Lately.Admitted, signs.Span(over))
	}
	return fmt.Sprintf("%d in the last minute, %.3g a second", v.Lately.Admitted, float64(v.Lately.Admitted)/over.Seconds())
}

// printProcesses shows who is alive, and who was within the last 10 minutes.
func printProcesses(out io.Writer, fleet signs.Fleet) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "processes")
	if len(fleet.Signs) == 0 {
		fmt.Fprintf(w, "  none has signed in the last %d minutes\n", int(room.SignKept.Minutes()))
	}
	for _, role := range []room.Role{room.RoleAdmitter, room.RoleNode} {
		for _, s := range signsOf(fleet, role, "") {
			ms := func(n int64) string { return signs.Span(time.Duration(n) * time.Millisecond) }
			state := fmt.Sprintf("alive for %s, last sign %s ago", ms(s.UpMS+s.AgoMS), ms(s.AgoMS))
			if s.State != "alive" {
				state = fmt.Sprintf("%s since %s, was up for %s", s.State, signs.At(fleet.Now.Add(-time.Duration(s.AgoMS)*time.Millisecond), fleet.Now), ms(s.UpMS))
			}
			fmt.Fprintf(w, "  %s\t%s on %s, pid %d, %s:\t%s\n", role, s.ID, s.Host, s.PID, s.Version, state)
		}
	}
}
