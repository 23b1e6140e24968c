package booking

import (
	"context"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// Charge is what a Gateway is asked to authorise. It names the visitor by the
// admission only.
type Charge struct {
	ID    string // new for every attempt: the gateway's own key against repeats
	Pass  room.Admission
	Hold  seat.HoldID
	Seats []seat.ID

	Amount   int64 // in the currency's minor units
	Currency string
}

// Gateway takes money in two steps, so that none is taken for a seat that is
// lost in between. An authorisation that is neither captured nor voided lapses
// by itself at the gateway.
type Gateway interface {
	// Authorise reserves the money and returns a reference of at most 64 ASCII
	// characters, a new one for every charge. A refusal is seat.ErrDeclined.
	Authorise(ctx context.Context, c Charge) (reference string, err error)
	// Capture takes the money. It is repeated until it succeeds; a repeat of one
	// that succeeded takes nothing and is no error.
	Capture(ctx context.Context, reference string) error
	// Void gives the money back. An error is not repeated: the authorisation lapses.
	Void(ctx context.Context, reference string) error
}

// FreeGateway says yes to everything: seats cost nothing.
type FreeGateway struct{}

// Authorise always succeeds.
func (FreeGateway) Authorise(_ context.Context, c Charge) (string, error) { return "free-" + c.ID, nil }

// Capture always succeeds.
func (FreeGateway) Capture(context.Context, string) error { return nil }

// Void always succeeds.
func (FreeGateway) Void(context.Context, string) error { return nil }
