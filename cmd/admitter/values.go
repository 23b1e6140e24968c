package main

import (
	"errors"
	"time"

	"waitroom/internal/admission"
	"waitroom/internal/room"
)

// values are a room's fields as an operator gives them for one room; nil is not given.
type values struct {
	admission.Values
	Grace *time.Duration `help:"How long a waiting visitor whom no node sees keeps the place: 30s to 1h, 2m unless set." placeholder:"DURATION"`
}

// Change translates the values; its error has every wrong one, joined.
func (v *values) Change(actor string) (room.Change, error) {
	change, err := v.Values.Change(actor)
	change.Grace = v.Grace
	return change, errors.Join(err, room.Change{Actor: "check", Grace: v.Grace}.Valid())
}

// Given says whether any value is.
func (v *values) Given() bool { return *v != values{} }
