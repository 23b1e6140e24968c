package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/room"
)

// eventView is what a room's sale is for, in the project's words. Of the logo it
// has what tells one from another.
type eventView struct {
	Rev      int64     `json:"rev"`
	Title    string    `json:"title,omitempty"`
	Venue    string    `json:"venue,omitempty"`
	StartsAt string    `json:"starts_at,omitempty"`
	Accent   string    `json:"accent,omitempty"`
	Logo     *logoView `json:"logo,omitempty"`
}

type logoView struct {
	Type   string `json:"type"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// eventOf reads the event of a room, if anything was ever set. It may be newer than
// the status by a moment.
func eventOf(ctx context.Context, lines *line.Lines, status room.Status) (eventView, error) {
	if status.Conf.EventRev == 0 {
		return eventView{}, nil
	}
	e, err := lines.Event(ctx, status.Name)
	if err != nil {
		return eventView{}, err
	}
	v := eventView{Rev: e.Rev, Title: e.Title, Venue: e.Venue, Accent: e.Brand.Accent}
	if !e.StartsAt.IsZero() {
		v.StartsAt = e.StartsAt.UTC().Format(time.RFC3339Nano)
	}
	if logo := e.Brand.Logo; len(logo) > 0 {
		sum := sha256.Sum256(logo)
		v.Logo = &logoView{Type: e.Brand.LogoType(), Bytes: len(logo), SHA256: hex.EncodeToString(sum[:])}
	}
	return v, nil
}

// print writes a row for each thing that is set.
func (v eventView) print(row func(label, format string, args ...any)) {
	for _, r := range []struct{ label, value string }{
		{"title", v.Title}, {"venue", v.Venue}, {"starts at", v.StartsAt}, {"accent", v.Accent},
	} {
		if r.value != "" {
			row(r.label, "%s", r.value)
		}
	}
	if v.Logo != nil {
		row("logo", "%s, %d bytes, sha256 %s", v.Logo.Type, v.Logo.Bytes, v.Logo.SHA256[:16])
	}
}
