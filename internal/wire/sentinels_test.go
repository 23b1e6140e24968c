package wire

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// sentinelsOf are the names of a package's Err… variables, out of its source.
func sentinelsOf(t *testing.T, pkg string) (names []string) {
	t.Helper()
	dir := filepath.Join("..", pkg)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), filepath.Join(dir, f.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != gotoken.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, pkg+"."+name.Name)
					}
				}
			}
		}
	}
	return names
}

// Each sentinel has a code, or a reason why nobody hears of it.
func TestEverySentinelHasACode(t *testing.T) {
	rows := map[string]struct {
		err   error
		place Code // at the line; "": internal
		pass  Code // in the shop
		typed Code // at a terminal
		why   string
	}{
		"room.ErrName":         {err: room.ErrName, place: BadRoom, pass: BadRoom, typed: BadRoom},
		"room.ErrUnknown":      {err: room.ErrUnknown, place: UnknownRoom, pass: UnknownRoom, typed: UnknownRoom},
		"room.ErrDeleted":      {err: room.ErrDeleted, place: RoomDeleted, pass: RoomDeleted, typed: RoomDeleted},
		"room.ErrEpoch":        {err: room.ErrEpoch, place: PlaceEpoch, pass: PlaceEpoch, typed: PlaceEpoch},
		"room.ErrRecovering":   {err: room.ErrRecovering, place: Recovering, pass: Recovering, typed: Recovering},
		"room.ErrClosed":       {err: room.ErrClosed, place: RoomClosed, pass: RoomClosed, typed: RoomClosed},
		"room.ErrSoldOut":      {err: room.ErrSoldOut, place: SoldOut, pass: SoldOut, typed: SoldOut},
		"room.ErrFull":         {err: room.ErrFull, place: RoomFull, pass: RoomFull, typed: RoomFull},
		"room.ErrMemory":       {err: room.ErrMemory, place: RoomFull, pass: RoomFull, typed: MemoryFull},
		"room.ErrActive":       {err: room.ErrActive, place: NotYours, pass: NotYours, typed: NotYours},
		"room.ErrAway":         {err: room.ErrAway, place: Stalled, pass: Stalled, typed: Unavailable},
		"room.ErrOverloaded":   {err: room.ErrOverloaded, place: Overloaded, pass: Overloaded, typed: Overloaded},
		"room.ErrExists":       {err: room.ErrExists, typed: RoomExists, why: "only commands make rooms"},
		"room.ErrBusy":         {err: room.ErrBusy, typed: RoomBusy, why: "only commands delete rooms"},
		"room.ErrTooMany":      {err: room.ErrTooMany, typed: TooManyRooms, why: "only commands make rooms"},
		"room.ErrState":        {err: room.ErrState, typed: WrongState, why: "only commands pause and resume"},
		"room.ErrChanged":      {err: room.ErrChanged, typed: RoomChanged, why: "only commands change rooms"},
		"room.ErrSpent":        {err: room.ErrSpent, why: "a message of its own says it: spent"},
		"room.ErrStaleBatch":   {err: room.ErrStaleBatch, why: "between a node and the line; its visitors hear stalled"},
		"room.ErrUnsure":       {err: room.ErrUnsure, why: "the reaper waits for the next span"},
		"room.ErrTooManySigns": {err: room.ErrTooManySigns, why: "the process that can't sign logs it"},
		"room.ErrVisitorID":    {err: room.ErrVisitorID, why: "ids are inside of tokens, which are then malformed"},
		"room.ErrEpochForm":    {err: room.ErrEpochForm, why: "as ErrVisitorID"},
		"room.ErrAdmission":    {err: room.ErrAdmission, why: "as ErrVisitorID"},

		"seat.ErrID":        {err: seat.ErrID, place: SeatBad, pass: SeatBad, typed: SeatBad},
		"seat.ErrHoldID":    {err: seat.ErrHoldID, place: HoldUnknown, pass: HoldUnknown, typed: HoldUnknown},
		"seat.ErrNone":      {err: seat.ErrNone, place: SeatsNone, pass: SeatsNone, typed: SeatsNone},
		"seat.ErrTwice":     {err: seat.ErrTwice, place: SeatsTwice, pass: SeatsTwice, typed: SeatsTwice},
		"seat.ErrTooMany":   {err: seat.ErrTooMany, place: SeatsTooMany, pass: SeatsTooMany, typed: SeatsTooMany},
		"seat.ErrUnknown":   {err: seat.ErrUnknown, place: SeatUnknown, pass: SeatUnknown, typed: SeatUnknown},
		"seat.ErrTaken":     {err: &seat.TakenError{Seats: []seat.ID{"A-1"}}, place: SeatTaken, pass: SeatTaken, typed: SeatTaken},
		"seat.ErrNoHold":    {err: seat.ErrNoHold, place: HoldUnknown, pass: HoldUnknown, typed: HoldUnknown},
		"seat.ErrHoldEnded": {err: seat.ErrHoldEnded, place: HoldEnded, pass: HoldEnded, typed: HoldEnded},
		"seat.ErrHoldOpen":  {err: seat.ErrHoldOpen, place: HoldOpen, pass: HoldOpen, typed: HoldOpen},
		"seat.ErrExtended":  {err: seat.ErrExtended, place: HoldExtended, pass: HoldExtended, typed: HoldExtended},
		"seat.ErrEpoch":     {err: seat.ErrEpoch, place: PassOld, pass: PassOld, typed: PassOld},
		"seat.ErrBusy":      {err: seat.ErrBusy, place: Overloaded, pass: Overloaded, typed: Overloaded},
		"seat.ErrKey":       {err: seat.ErrKey, place: KeyBad, pass: KeyBad, typed: KeyBad},
		"seat.ErrKeyReused": {err: seat.ErrKeyReused, place: KeyReused, pass: KeyReused, typed: KeyReused},
		"seat.ErrKeyBusy":   {err: seat.ErrKeyBusy, place: KeyBusy, pass: KeyBusy, typed: KeyBusy},
		"seat.ErrKeys":      {err: seat.ErrKeys, place: KeysTooMany, pass: KeysTooMany, typed: KeysTooMany},
		"seat.ErrPassSpent": {err: seat.ErrPassSpent, place: PassSpent, pass: PassSpent, typed: PassSpent},
		"seat.ErrNoRoom":    {err: seat.ErrNoRoom, place: NoSeats, pass: NoSeats, typed: NoSeats},
		"seat.ErrSkew":      {err: seat.ErrSkew, place: ClockSkew, pass: ClockSkew, typed: ClockSkew},
		"seat.ErrDeclined":  {err: seat.ErrDeclined, place: Declined, pass: Declined, typed: Declined},
		"seat.ErrAway":      {err: seat.ErrAway, place: Unavailable, pass: Unavailable, typed: Unavailable},

		"seat.ErrPrice":     {err: seat.ErrPrice, why: "only the command that makes seats takes a price, and prints the words"},
		"seat.ErrCurrency":  {err: seat.ErrCurrency, why: "only the command that makes seats takes a price, and prints the words"},
		"seat.ErrReference": {err: seat.ErrReference, why: "no request carries a reference"},

		"token.ErrMalformed": {err: token.ErrMalformed, place: PlaceBad, pass: PassBad, why: "no command takes a token"},
		"token.ErrForeign":   {err: token.ErrForeign, place: PlaceForeign, pass: PassForeign, why: "no command takes a token"},
		"token.ErrOtherRoom": {err: token.ErrOtherRoom, place: PlaceRoom, pass: PassRoom, why: "no command takes a token"},
		"token.ErrExpired":   {err: token.ErrExpired, place: PlaceForeign, pass: PassExpired, why: "no command takes a token"},
		"token.ErrKeysAway":  {err: token.ErrKeysAway, place: Stalled, pass: Unavailable, why: "no command takes a token"},

		"a deadline":    {err: context.DeadlineExceeded, place: Unavailable, pass: Unavailable, typed: Unavailable},
		"cancelled":     {err: context.Canceled, place: Unavailable, pass: Unavailable, typed: Unavailable},
		"away in time":  {err: fmt.Errorf("%w: %w", room.ErrAway, context.DeadlineExceeded), place: Stalled, pass: Stalled, typed: Unavailable},
		"anything else": {err: errors.New("WRONGTYPE"), why: "ours to mend"},
	}
	for name, want := range rows {
		err := fmt.Errorf("wrapped: %w", want.err)
		for _, c := range []struct {
			who       string
			got, want Code
		}{
			{"a place", PlaceCode(err), want.place}, {"a pass", PassCode(err), want.pass}, {"a command", OperatorCode(err), want.typed},
		} {
			if c.want == "" {
				c.want = Internal
				if want.why == "" {
					t.Errorf("%s with %s: has neither a code nor a reason", name, c.who)
				}
			}
			if c.got != c.want {
				t.Errorf("%s with %s: got %s, want %s", name, c.who, c.got, c.want)
			}
		}
	}
	for _, pkg := range []string{"room", "seat", "token"} {
		names := sentinelsOf(t, pkg)
		if len(names) == 0 {
			t.Errorf("%s: got no sentinel out of its source", pkg)
		}
		for _, name := range names {
			if _, has := rows[name]; !has {
				t.Errorf("%s has no row: give it a code, or a reason why it needs none", name)
			}
		}
	}
}

// What goes over a wire has a row in the table of codes, what only a terminal shows
// has none.
func TestSentinelsHaveRows(t *testing.T) {
	for _, rows := range [][]row{visitors, places, passes} {
		for _, r := range rows {
			if _, ok := Codes[r.code]; !ok {
				t.Errorf("%v maps to %s, which has no row", r.err, r.code)
			}
		}
	}
	for _, r := range operators {
		if _, ok := Codes[r.code]; ok && r.code != Unavailable {
			t.Errorf("%v maps to %s, which visitors know with another meaning", r.err, r.code)
		}
	}
}
