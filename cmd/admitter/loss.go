package main

import (
	"time"

	"waitroom/internal/room"
	"waitroom/internal/signs"
)

// lossView is what a line lost last, for JSON: nil where nothing was ever noticed.
type lossView struct {
	Recovering bool   `json:"recovering"`        // places are being brought back
	Asking     bool   `json:"asking"`            // nobody gets a number meanwhile
	Since      string `json:"since"`             // when it was noticed
	Unknown    int64  `json:"unknown"`           // numbers whose holders the line did not know
	Back       int64  `json:"back"`              // of these came back
	GoesOn     string `json:"goes_on,omitempty"` // when those behind the loss are admitted, while they are not
	Losses     int64  `json:"losses"`            // so far, those that lost nothing included
}

func lossOf(life room.Life, now time.Time) *lossView {
	loss, has := signs.LossOf(life, now)
	if !has {
		return nil
	}
	v := &lossView{Recovering: loss.UnderWay(), Asking: life.Asking, Since: life.LostAt.UTC().Format(time.RFC3339Nano),
		Unknown: life.Lost, Back: life.Restored, Losses: life.Fences}
	if life.HoldUntil.After(now) {
		v.GoesOn = life.HoldUntil.UTC().Format(time.RFC3339Nano)
	}
	return v
}

// printLoss shows a loss to people while it lasts and for an hour.
func printLoss(row func(label, format string, args ...any), life room.Life, now time.Time) {
	if loss, has := signs.LossOf(life, now); has && loss.Recent() {
		row(loss.Label(), "%s", loss)
	}
}
