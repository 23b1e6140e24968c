package line

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"waitroom/internal/room"
)

// Names of conf's fields, as scripts and the audit stream have them, in the
// order in which they are shown.
const (
	fieldRate       = "rate" // thousandths per second
	fieldBurst      = "burst"
	fieldMaxActive  = "max_active"
	fieldMaxWaiting = "max_waiting"
	fieldClaim      = "claim_ms"
	fieldPass       = "pass_ms"
	fieldState      = "state"
	fieldOpensAt    = "opens_at" // ms since 1970, 0 for none
	fieldSoldOut    = "sold_out"
	fieldStockRev   = "stock_rev"
	fieldNotice     = "notice"
	fieldShopURL    = "shop_url"
	fieldEventRev   = "event_rev"
	fieldGrace      = "grace_ms" // none: room.DefaultGrace, as the scripts have it
	fieldCreated    = "created_ms"
)

// Names of the event's fields, in the same way.
const (
	fieldTitle    = "title"
	fieldVenue    = "venue"
	fieldStartsAt = "starts_at" // RFC 3339 in UTC, "" for none
	fieldAccent   = "accent"
	fieldLogo     = "logo"       // Brand.LogoSum
	fieldBytes    = "logo_bytes" // never in the audit stream
)

var fieldOrder = []string{fieldRate, fieldBurst, fieldMaxActive, fieldMaxWaiting, fieldClaim,
	fieldPass, fieldGrace, fieldState, fieldOpensAt, fieldSoldOut, fieldStockRev, fieldNotice, fieldShopURL,
	fieldTitle, fieldVenue, fieldStartsAt, fieldAccent, fieldLogo}

// changeArgs are a change's fields as a script takes them: name, value, …
func changeArgs(ch room.Change) []any {
	var args []any
	add := func(field string, set bool, value func() string) {
		if set {
			args = append(args, field, value())
		}
	}
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	add(fieldRate, ch.Rate != nil, func() string { return whole(int64(*ch.Rate)) })
	add(fieldBurst, ch.Burst != nil, func() string { return whole(*ch.Burst) })
	add(fieldMaxActive, ch.MaxActive != nil, func() string { return whole(*ch.MaxActive) })
	add(fieldMaxWaiting, ch.MaxWaiting != nil, func() string { return whole(*ch.MaxWaiting) })
	add(fieldClaim, ch.Claim != nil, func() string { return whole(ch.Claim.Milliseconds()) })
	add(fieldPass, ch.Pass != nil, func() string { return whole(ch.Pass.Milliseconds()) })
	add(fieldGrace, ch.Grace != nil, func() string { return whole(ch.Grace.Milliseconds()) })
	add(fieldState, ch.State != nil, func() string { return string(*ch.State) })
	add(fieldOpensAt, ch.OpensAt != nil, func() string { return whole(opensAt(*ch.OpensAt)) })
	add(fieldNotice, ch.Notice != nil, func() string { return *ch.Notice })
	add(fieldShopURL, ch.ShopURL != nil, func() string { return *ch.ShopURL })
	return args
}

// confArgs are all fields of a new room.
func confArgs(c room.Conf) []any {
	args := changeArgs(room.Change{Rate: &c.Rate, Burst: &c.Burst, MaxActive: &c.MaxActive,
		MaxWaiting: &c.MaxWaiting, Claim: &c.Claim, Pass: &c.Pass, Grace: &c.Grace, State: &c.State,
		OpensAt: &c.OpensAt, Notice: &c.Notice, ShopURL: &c.ShopURL})
	return append(args, "epoch", string(c.Epoch), fieldSoldOut, "0")
}

func opensAt(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// parseConf is the inverse. Fields it does not know are a newer version's; one
// that is missing or no number is an error, since guessing a rate lets people in.
func parseConf(fields map[string]string) (room.Conf, error) {
	var bad []string
	whole := func(field string) int64 {
		n, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			bad = append(bad, field)
		}
		return n
	}
	c := room.Conf{
		Epoch:      room.Epoch(fields["epoch"]),
		Rate:       room.Rate(whole(fieldRate)),
		Burst:      whole(fieldBurst),
		MaxActive:  whole(fieldMaxActive),
		MaxWaiting: whole(fieldMaxWaiting),
		Claim:      time.Duration(whole(fieldClaim)) * time.Millisecond,
		Pass:       time.Duration(whole(fieldPass)) * time.Millisecond,
		State:      room.State(fields[fieldState]),
		SoldOut:    fields[fieldSoldOut] == "1",
		Notice:     fields[fieldNotice],
		ShopURL:    fields[fieldShopURL],
		Rev:        whole("rev"),
	}
	c.Grace = room.DefaultGrace
	if _, told := fields[fieldGrace]; told { // a line made by an older version has none
		c.Grace = time.Duration(whole(fieldGrace)) * time.Millisecond
	}
	if _, told := fields[fieldEventRev]; told { // a line made by an older version has none
		c.EventRev = whole(fieldEventRev)
	}
	if _, told := fields[fieldStockRev]; told { // until the shop tells one
		c.StockRev = whole(fieldStockRev)
	}
	if ms := whole(fieldOpensAt); ms != 0 {
		c.OpensAt = time.UnixMilli(ms).UTC()
	}
	if _, err := room.ParseState(string(c.State)); err != nil {
		bad = append(bad, fieldState)
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return c, fmt.Errorf("conf of the line: fields %v are missing or malformed", bad)
	}
	return c, nil
}
