package wire

import (
	"context"
	"errors"
	"slices"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// row is a sentinel and its code.
type row struct {
	err  error
	code Code
}

// visitors is what anybody may meet. In each list the first match wins: ErrAway
// may wrap a deadline.
var visitors = []row{
	{room.ErrName, BadRoom}, {room.ErrUnknown, UnknownRoom}, {room.ErrDeleted, RoomDeleted}, {room.ErrEpoch, PlaceEpoch},
	{room.ErrRecovering, Recovering}, {room.ErrClosed, RoomClosed}, {room.ErrSoldOut, SoldOut},
	{room.ErrFull, RoomFull}, {room.ErrMemory, RoomFull}, {room.ErrActive, NotYours},
	{room.ErrAway, Stalled}, {room.ErrOverloaded, Overloaded},
	{seat.ErrID, SeatBad}, {seat.ErrHoldID, HoldUnknown}, {seat.ErrNone, SeatsNone},
	{seat.ErrTwice, SeatsTwice}, {seat.ErrTooMany, SeatsTooMany}, {seat.ErrUnknown, SeatUnknown},
	{seat.ErrTaken, SeatTaken}, {seat.ErrNoHold, HoldUnknown}, {seat.ErrHoldEnded, HoldEnded},
	{seat.ErrHoldOpen, HoldOpen}, {seat.ErrExtended, HoldExtended}, {seat.ErrEpoch, PassOld}, {seat.ErrBusy, Overloaded},
	{seat.ErrKey, KeyBad}, {seat.ErrKeyReused, KeyReused}, {seat.ErrKeyBusy, KeyBusy}, {seat.ErrKeys, KeysTooMany},
	{seat.ErrPassSpent, PassSpent}, {seat.ErrNoRoom, NoSeats},
	{seat.ErrSkew, ClockSkew}, {seat.ErrDeclined, Declined}, {seat.ErrAway, Unavailable},
	{context.DeadlineExceeded, Unavailable},
	{context.Canceled, Unavailable}, // by a process that stops: the visitor, if it was not he, comes back
}

// Of the errors of a token a place and a pass have codes of their own.
var (
	places = []row{
		{token.ErrMalformed, PlaceBad}, {token.ErrForeign, PlaceForeign}, {token.ErrOtherRoom, PlaceRoom},
		{token.ErrExpired, PlaceForeign}, // a place has no end: we signed none such
		{token.ErrKeysAway, Stalled},
	}
	passes = []row{
		{token.ErrMalformed, PassBad}, {token.ErrForeign, PassForeign}, {token.ErrOtherRoom, PassRoom},
		{token.ErrExpired, PassExpired}, {token.ErrKeysAway, Unavailable},
	}
)

// Codes that operators read in a terminal, of errors that no visitor meets. They
// go over no wire, so they have no row in Codes.
const (
	RoomExists   Code = "room_exists"
	RoomBusy     Code = "room_busy"
	TooManyRooms Code = "too_many_rooms"
	MemoryFull   Code = "memory_full"
	WrongState   Code = "wrong_state"
	RoomChanged  Code = "room_changed"
)

// operators is what an operator is told in other words than visitors.
var operators = []row{
	{room.ErrExists, RoomExists}, {room.ErrBusy, RoomBusy}, {room.ErrTooMany, TooManyRooms},
	{room.ErrMemory, MemoryFull}, {room.ErrState, WrongState}, {room.ErrChanged, RoomChanged},
	{room.ErrAway, Unavailable},
}

// PlaceCode maps an error to its code for who came with a place, or without one; what
// it does not know is Internal.
func PlaceCode(err error) Code { return find(err, places, visitors) }

// PassCode is the same for who came with a pass.
func PassCode(err error) Code { return find(err, passes, visitors) }

// OperatorCode is the same for who typed a command.
func OperatorCode(err error) Code { return find(err, operators, visitors) }

func find(err error, tables ...[]row) Code {
	for _, rows := range tables {
		if i := slices.IndexFunc(rows, func(r row) bool { return errors.Is(err, r.err) }); i >= 0 {
			return rows[i].code
		}
	}
	return Internal
}
