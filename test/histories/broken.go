package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// broken is the store without one rule: its sources with a few texts replaced. Each text
// must stand there exactly as often as there are replacements of it, so that a rule that
// is written anew is taken out anew, here.
type broken struct {
	rule    string
	without []change
	after   bool   // it shows in the tables, which are compared after all histories
	only    string // the one database where it can be broken; empty: both
}

type change struct{ file, old, new string }

// What stands behind the rules, and would keep a broken one from doing harm: acts that the
// rules let through by mistake meet these. They are taken away with a rule, so that the
// rule alone is looked at.
var behind = []change{
	{"purchase.go", "if !slices.Contains(moves[h.State], state) {", "if slices.Contains(moves[h.State], \"nowhere\") {"},
	{"purchase.go", "if s := t.seats[key{h.Room, id}]; s == nil || s.State != seat.Held || s.Hold != h.ID {", "if false {"},
	{"purchase.go", "if p == nil || p.Hold != string(h.ID) || p.SpentMS != 0 {", "if p == nil {"},
	{"table.go", "if h.State == live {\n\t\t\tfor _, id := range h.seats()", "if true {\n\t\t\tfor _, id := range h.seats()"},
	{"table.go", "[]string{\"state\", \"until_ms\", \"ended_ms\", \"extended\"}, nil, \"state = 'live'\")", "[]string{\"state\", \"until_ms\", \"ended_ms\", \"extended\"}, nil, \"1 = 1\")"},
	{"table.go", "[]string{\"hold\"}, \"spent_ms = 0\")", "[]string{\"hold\"}, \"1 = 1\")"},
}

// bookAnything books what is no live hold.
var bookAnything = append([]change{
	{"purchase.go", "if p == nil || p.SpentMS != 0 || p.Hold != string(h.ID) || h.State != live || t.rules.lapsed(*h, a.now) {", "if p == nil || t.rules.lapsed(*h, a.now) {"},
}, behind...)

// brokens has a row for each rule of the seats.
var brokens = []broken{
	{rule: "a hold takes free seats only", without: []change{
		{"purchase.go", "case s.State != seat.Free:", "case false:"}}},
	{rule: "a hold is all of its seats or none", without: []change{
		{"purchase.go", "case len(taken) > 0:", "case len(taken) == len(a.seats):"}}},
	{rule: "a refusal names the seats in the way, no others", without: []change{
		{"purchase.go", "return &seat.TakenError{Seats: taken}", "return &seat.TakenError{Seats: a.seats}"}}},
	{rule: "one live hold of a pass", without: []change{
		{"purchase.go", "if p.Hold != \"\" {\n\t\thas :=", "if p.Hold == \"none\" {\n\t\thas :="}}},
	{rule: "a spent pass holds nothing", without: []change{
		{"purchase.go", "if p.SpentMS != 0 {\n\t\treturn seat.ErrPassSpent", "if false {\n\t\treturn seat.ErrPassSpent"},
		{"table.go", "[]string{\"hold\"}, \"spent_ms = 0\")", "[]string{\"hold\"}, \"1 = 1\")"}}},
	{rule: "a hold lasts no longer than its pass", without: []change{
		{"purchase.go", "if a.pass.Expires.Before(until) {", "if false {"}}},
	{rule: "a hold is its pass's own", without: []change{
		{"purchase.go", "if h == nil || h.Admission != a.id {", "if h == nil {"}}},
	{rule: "who asks again for lapsed seats is told that they lapsed", without: []change{
		{"purchase.go", "case t.rules.lapsed(*has, a.now):", "case false:"}}},
	{rule: "no booking after the grace", without: []change{
		{"purchase.go", "h.State != live || t.rules.lapsed(*h, a.now) {", "h.State != live {"}}},
	{rule: "a booking within the grace", without: []change{
		{"purchase.go", "h.State != live || t.rules.lapsed(*h, a.now) {", "h.State != live || h.UntilMS < a.now.UnixMilli() {"}}},
	{rule: "only a live hold is booked", without: bookAnything},
	{rule: "the key: a seat is booked once, whatever else is wrong", without: append([]change{
		{"migrations/mysql/00001_shop.sql", "PRIMARY KEY (room, seat)", "PRIMARY KEY (room, seat, hold)"},
		{"migrations/sqlite/00001_shop.sql", "PRIMARY KEY (room, seat)", "PRIMARY KEY (room, seat, hold)"},
	}, bookAnything...)},
	{rule: "a booking spends its pass", without: []change{
		{"purchase.go", "p.Hold, p.Booking, p.SpentMS = \"\", string(h.ID), a.now.UnixMilli()", "p.Hold, p.Booking = \"\", string(h.ID)"}}},
	{rule: "a booked hold is not released", without: append([]change{
		{"purchase.go", "case h.State == confirmed || h.State == aside:\n\t\t\treturn seat.ErrHoldEnded\n\t\tcase h.State != live:", "case h.State == released || h.State == expired:"}}, behind...)},
	{rule: "a hold frees its own seats only", without: append([]change{
		{"purchase.go", "case h.State != live:\n\t\t\treturn nil // done already", "case false:\n\t\t\treturn nil // done already"}}, behind...)},
	{rule: "a release frees the pass", without: []change{
		{"purchase.go", "t.end(h, state, a.now)\n\tp.Hold = \"\"\n", "t.end(h, state, a.now)\n"}}},
	{rule: "leaving spends the pass", without: []change{
		{"purchase.go", "\tp.SpentMS = a.now.UnixMilli()\n", ""}}},
	{rule: "leaving ends the live hold", without: []change{
		{"purchase.go", "case p.Hold == \"\" || h != nil && h.State == aside:", "case true:"}}},
	{rule: "an extension is given once", without: []change{
		{"purchase.go", "case h.Extended != 0 || a.longer <= 0:", "case a.longer <= 0:"}}},
	{rule: "an extension ends with the pass", without: []change{
		{"purchase.go", "min(h.UntilMS+a.longer.Milliseconds(), a.pass.Expires.UnixMilli())", "h.UntilMS+a.longer.Milliseconds()"}}},
	{rule: "nothing is extended after its time", without: []change{
		{"purchase.go", "h.State != live || h.UntilMS < a.now.UnixMilli():", "h.State != live:"}}},
	{rule: "nothing expires within its grace", without: []change{
		{"expire.go", "live, now.Add(-s.rules.Grace).UnixMilli(), limit)", "live, now.UnixMilli(), limit)"}}},
	{rule: "nothing expires within its time", without: []change{
		{"expire.go", "live, now.Add(-s.rules.Grace).UnixMilli(), limit)", "live, now.UnixMilli()+100, limit)"}}},
	{rule: "a booked hold does not expire", without: append([]change{
		{"expire.go", "WHERE state = ? AND until_ms < ?", "WHERE state IN (?, 'confirmed') AND until_ms < ?"}}, behind...)},
	{rule: "rows are locked, or a write finds them changed", only: "mysql", without: []change{
		{"table.go", "return t.store.db.ForUpdate(!t.wait)", "return \"\""},
		{"table.go", "for i, column := range was {", "for i, column := range was[:0] {"},
		{"table.go", "if err == nil && n != int64(len(u.keys)) {", "if err == nil && n < 0 {"}}},
	{rule: "the counter counts each booked seat", without: []change{
		{"stock.go", "booked[b.hold.Room] += len(b.hold.seats())", "booked[b.hold.Room]++"}}},
	{rule: "sold out is the last seat, no other", without: []change{
		{"stock.go", "if row.left() > 0 {", "if row.left() > 1 {"}}},
	{rule: "that the last seat went is said", without: []change{
		{"stock.go", "if row.left() > 0 {", "if true {"}}},
	{rule: "that nothing is left is told at once", without: []change{
		{"stock.go", "told = append(told, fact)", "_ = fact"}}},
	{rule: "sold out is as of the counter's rev", without: []change{
		{"stock.go", "StockRev: row.Rev,", "StockRev: row.Rev - 1,"}}},
	{rule: "the rev goes up with a booking", without: []change{
		{"stock.go", "SET booked = booked + ?, rev = rev + 1 WHERE", "SET booked = booked + ? WHERE"}}},
	{rule: "the rev goes up by one", without: []change{
		{"stock.go", "SET booked = booked + ?, rev = rev + 1 WHERE", "SET booked = booked + ?, rev = rev + 2 WHERE"}}},
	{rule: "the rev goes up with seats that are added", without: []change{
		{"seats.go", "SET seats = seats + ?, rev = rev + 1, plan", "SET seats = seats + ?, plan"},
		{"seats.go", "before.Seats+int64(added), before.Rev+1", "before.Seats+int64(added), before.Rev"}}},
	{rule: "that there are seats again is told at once", without: []change{
		{"seats.go", "if before.left() > 0 || epoch == \"\" {", "if true {"}}},
	{rule: "what is left is what is not booked", without: []change{
		{"stock.go", "Left: row.left(), Seats: row.Seats, AtMS:", "Left: max(row.left()-1, 0), Seats: row.Seats, AtMS:"}}},
	{rule: "a stock is told once a second", without: []change{
		{"stock.go", "if now.Sub(time.UnixMilli(r.ToldMS)).Abs() < gap {", "if now.Sub(time.UnixMilli(r.ToldMS)).Abs() < gap-gap {"}}},
	{rule: "a stock that did not change is told once a minute", without: []change{
		{"stock.go", "gap = stockAgain", "gap = stockEvery"}}},
	{rule: "one of many tells a stock", without: []change{
		{"stock.go", "AND told_rev = ? AND told_left = ? AND told_ms = ? AND epoch = ?`", "AND (1 = 1 OR told_rev = ? OR told_left = ? OR told_ms = ? OR epoch = ?)`"}}},
	{rule: "what was noted as told was told", without: []change{
		{"stock.go", "outbox.Add(one, tx, fact)", "outbox.Add(one, tx, []events.Record{fact}[1:]...)"}}},
	{rule: "a pass of an older line opens nothing", without: []change{
		{"purchase.go", "if t.rules.past(a.pass) {", "if false {"}}},
	{rule: "a pass of an older line has what it holds", without: []change{
		{"purchase.go", "if p.Hold != \"\" {\n\t\thas :=", "if t.rules.past(a.pass) {\n\t\treturn seat.ErrEpoch\n\t}\n\tif p.Hold != \"\" {\n\t\thas :="}}},
	{rule: "a pass of an older line books what it holds", without: []change{
		{"purchase.go", "h.State != live || t.rules.lapsed(*h, a.now) {", "h.State != live || t.rules.lapsed(*h, a.now) || t.rules.past(a.pass) {"}}},
	{rule: "a pass of an older line gives back what it holds", without: []change{
		{"purchase.go", "case h.State == confirmed || h.State == aside:\n\t\t\treturn", "case h.State == confirmed || h.State == aside || t.rules.past(a.pass):\n\t\t\treturn"}}},
	{rule: "a pass of an older line leaves", without: []change{
		{"purchase.go", "\tif p.SpentMS != 0 {\n\t\treturn nil // done already", "\tif p.SpentMS != 0 || t.rules.past(a.pass) {\n\t\treturn nil // done already"}}},
	{rule: "a line is old when a later one is known, not before", without: []change{
		{"event.go", "v.Epoch != epoch && slices.Contains(", "v.Epoch != epoch || slices.Contains("}}},
	{rule: "a block leaves alone what somebody has", without: []change{
		{"block.go", "case r.State == from:", "case r.State == from || r.State == seat.Held && to == seat.Blocked:"}}},
	{rule: "a block is all of its seats or none", without: []change{
		{"block.go", "case len(done.Taken) > 0 && !others:", "case len(done.Taken) == len(ids) && !others:"}}},
	{rule: "a block locks its seats", only: "mysql", without: []change{
		{"seats.go", "ORDER BY id\"+s.db.ForUpdate(false), name, ids)", "ORDER BY id\", name, ids)"}}},
	{rule: "the counter follows a block", without: []change{
		{"stock.go", "rev = rev + 1 WHERE room = ?\", by, name)", "rev = rev + 1 WHERE room = ?\", max(by, 0), name)"}}},
	{rule: "the rev goes up with a block", without: []change{
		{"stock.go", "SET seats = seats + ?, rev = rev + 1 WHERE room = ?\", by", "SET seats = seats + ? WHERE room = ?\", by"}}},
	{rule: "that a block leaves nothing is told at once", without: []change{
		{"stock.go", "if row.left() > 0 && row.left() != int64(by) || epoch == \"\" {", "if row.left() != int64(by) || epoch == \"\" {"}}},
	{rule: "that what is given back is left is told at once", without: []change{
		{"stock.go", "if row.left() > 0 && row.left() != int64(by) || epoch == \"\" {", "if row.left() > 0 || epoch == \"\" {"}}},
	{rule: "a plan leaves alone what somebody has", after: true, without: []change{
		{"plans.go", "case r.taken():", "case r.taken() && how.DryRun:"},
		{"plans.go", "case r.taken() || t.remove && r.State != seat.Free:", "case t.remove && r.State != seat.Free:"}}},
	{rule: "each end has its fact", after: true, without: []change{
		{"purchase.go", "t.tell(holdFact(typ, *h, a.now))", "_ = typ"}}},
	{rule: "a finished pass is told once", after: true, without: []change{
		{"purchase.go", "t.tell(finishedFact(a.pass.Admission, a.now))\n\ta.got = *h", "t.tell(finishedFact(a.pass.Admission, a.now))\n\tt.tell(finishedFact(a.pass.Admission, a.now))\n\ta.got = *h"}}},
}

// sources are the files of one variant, by their path in folder, as they should be read.
func (b broken) sources(folder string) (map[string]string, error) {
	texts := map[string]string{}
	for _, c := range b.without {
		path := filepath.Join(folder, c.file)
		text, read := texts[path]
		if !read {
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			text = string(raw)
		}
		if n := strings.Count(text, c.old); n != 1 {
			return nil, fmt.Errorf("rule %q: %s has %d times, want once:\n%s", b.rule, c.file, n, c.old)
		}
		texts[path] = strings.Replace(text, c.old, c.new, 1)
	}
	return texts, nil
}
