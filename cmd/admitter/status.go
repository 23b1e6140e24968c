package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
)

// lastActs is how many entries of the audit stream --acts shows.
const lastActs = 50

type statusCmd struct {
	Name  string     `arg:"" optional:"" help:"Name of the room; without it, every room."`
	JSON  bool       `name:"json" help:"Print JSON, one object per line and room."`
	Acts  bool       `help:"Show who changed what, newest first."`
	Redis redisFlags `embed:""`
}

func (c *statusCmd) Check() error {
	if c.Name == "" {
		return nil
	}
	if _, err := room.ParseName(c.Name); err != nil {
		return fmt.Errorf("%q: %w", c.Name, err)
	}
	return nil
}

func (c *statusCmd) Run(ctx context.Context, env *process.Env) error {
	return withLine(ctx, &c.Redis, func(lines *line.Lines) error {
		names := []room.Name{room.Name(c.Name)}
		if c.Name == "" {
			var err error
			if names, err = lines.Rooms(ctx); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := c.show(ctx, env.Out, lines, name); err != nil {
				return fmt.Errorf("room %s: %w", name, err)
			}
		}
		return nil
	})
}

func (c *statusCmd) show(ctx context.Context, out io.Writer, lines *line.Lines, name room.Name) error {
	status, err := lines.Status(ctx, name)
	if err != nil {
		return err
	}
	v := view(status)
	if v.Event, err = eventOf(ctx, lines, status); err != nil {
		return err
	}
	if c.Acts {
		acts, err := lines.Acts(ctx, name, lastActs)
		if err != nil {
			return err
		}
		for _, act := range acts {
			v.Acts = append(v.Acts, actView{act.At.UTC().Format(time.RFC3339), act.Actor, act.What})
		}
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(v)
	}
	v.print(out)
	return nil
}

// statusView is a room's status in the project's words, for JSON and for people.
type statusView struct {
	Room       string    `json:"room"`
	Epoch      string    `json:"epoch"`
	State      string    `json:"state"`
	Shown      string    `json:"shown"` // what visitors are told
	OpensAt    string    `json:"opens_at,omitempty"`
	SoldOut    bool      `json:"sold_out"`
	Rate       string    `json:"rate"` // per second
	Burst      int64     `json:"burst"`
	MaxActive  int64     `json:"max_active"`
	MaxWaiting int64     `json:"max_waiting"`
	ClaimMS    int64     `json:"claim_ms"`
	PassMS     int64     `json:"pass_ms"`
	ShopURL    string    `json:"shop_url,omitempty"`
	Notice     string    `json:"notice,omitempty"`
	Rev        int64     `json:"rev"`
	Event      eventView `json:"event"`
	Waiting    int64     `json:"waiting"`
	Unclaimed  int64     `json:"unclaimed"`
	Active     int64     `json:"active"`
	Outbox     int64     `json:"outbox"`
	Seq        int64     `json:"seq"`
	Head       int64     `json:"head"`
	Stats      statsView `json:"stats"`
	Acts       []actView `json:"acts,omitempty"`
}

type statsView struct {
	Joined   int64 `json:"joined"`
	Admitted int64 `json:"admitted"`
	Claimed  int64 `json:"claimed"`
	Missed   int64 `json:"missed"`
	Left     int64 `json:"left"`
	Finished int64 `json:"finished"`
	Lapsed   int64 `json:"lapsed"`
	Refused  int64 `json:"refused"`
}

type actView struct {
	At    string `json:"at"`
	Actor string `json:"actor"`
	What  string `json:"what"`
}

func view(s room.Status) statusView {
	c := s.Conf
	v := statusView{
		Room: string(s.Name), Epoch: string(c.Epoch), State: string(c.State),
		Shown: string(c.Shown(s.Waiting, s.Now)), SoldOut: c.SoldOut,
		Rate: c.Rate.String(), Burst: c.Burst, MaxActive: c.MaxActive, MaxWaiting: c.MaxWaiting,
		ClaimMS: c.Claim.Milliseconds(), PassMS: c.Pass.Milliseconds(), ShopURL: c.ShopURL, Notice: c.Notice, Rev: c.Rev,
		Waiting: s.Waiting, Unclaimed: s.Unclaimed, Active: s.Active, Outbox: s.Outbox,
		Seq: int64(s.Seq), Head: int64(s.Head), Stats: statsView(s.Stats),
	}
	if !c.OpensAt.IsZero() {
		v.OpensAt = c.OpensAt.UTC().Format(time.RFC3339Nano)
	}
	return v
}

func (v statusView) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s\n", v.Room)
	row("state", "%s (visitors see: %s), epoch %s, rev %d", v.State, v.Shown, v.Epoch, v.Rev)
	if v.OpensAt != "" {
		row("opens at", "%s", v.OpensAt)
	}
	row("waiting", "%d of at most %d", v.Waiting, v.MaxWaiting)
	row("inside", "%d of %d (%d unclaimed, %d active)", v.Unclaimed+v.Active, v.MaxActive, v.Unclaimed, v.Active)
	row("rate", "%s per second, burst %d", v.Rate, v.Burst)
	row("claim", "%s, pass %s", time.Duration(v.ClaimMS)*time.Millisecond, time.Duration(v.PassMS)*time.Millisecond)
	row("outbox", "%d not yet in Kafka", v.Outbox)
	s := v.Stats
	row("so far", "%d joined, %d admitted, %d claimed, %d missed, %d left, %d finished, %d lapsed, %d refused",
		s.Joined, s.Admitted, s.Claimed, s.Missed, s.Left, s.Finished, s.Lapsed, s.Refused)
	if v.ShopURL != "" {
		row("shop", "%s", v.ShopURL)
	}
	if v.Notice != "" {
		row("notice", "%s", strings.Join(strings.Fields(v.Notice), " "))
	}
	v.Event.print(row)
	for _, act := range v.Acts {
		row(act.At, "%s: %s", act.Actor, act.What)
	}
	w.Flush()
}
