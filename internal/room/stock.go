package room

import (
	"fmt"
	"time"
)

// Stock is what the shop says of a room's seats at one moment. The line keeps the
// greatest Rev that it heard, and what is not above it changes nothing.
type Stock struct {
	// Rev is +1 per change of the stock. A shop that does not count says 0, which it
	// can say of a room that is sold out only.
	Rev  int64
	Left int64 // seats that are not booked; 0: the room is sold out
	// At is when, by the shop's clock, and zero where that is not told. It orders what
	// has no Rev, and nothing else.
	At time.Time
}

// Valid reports what is out of bounds.
func (s Stock) Valid() error {
	if s.Rev < 0 || s.Rev > MaxStockRev || s.Left < 0 || s.Rev == 0 && s.Left > 0 {
		return fmt.Errorf("stock rev %d with %d seats left: want 0 to %d, and none left at 0", s.Rev, s.Left, int64(MaxStockRev))
	}
	return nil
}
