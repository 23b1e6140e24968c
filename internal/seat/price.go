package seat

import (
	"errors"
	"fmt"
	"regexp"
)

// MaxAmount bounds what one seat costs. The 50 seats that a hold may have cost 5e13 at
// most, so their sum fits an int64, and a number of the page's too, which is exact to 2^53.
const MaxAmount = 1_000_000_000_000

// Sentinels of prices.
var (
	ErrPrice    = errors.New("a price is an amount and a currency of three letters, such as KRW; what costs nothing has neither")
	ErrCurrency = errors.New("seats of one room cost one currency")
)

// Price is what one seat costs. The zero value: nothing.
type Price struct {
	Amount   int64  `db:"amount"`   // in the currency's minor units
	Currency string `db:"currency"` // ISO 4217; "" with an amount of 0
}

var currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)

// Check returns nil, or an ErrPrice. Whether a currency of that form is used anywhere is
// not ours to know: the list changes.
func (p Price) Check() error {
	switch {
	case p.Amount < 0 || p.Amount > MaxAmount:
		return fmt.Errorf("%w: amount %d, want 0 to %d", ErrPrice, p.Amount, int64(MaxAmount))
	case p.Amount == 0 && p.Currency != "":
		return fmt.Errorf("%w: currency %.10q without an amount", ErrPrice, p.Currency)
	case p.Amount != 0 && !currencyPattern.MatchString(p.Currency):
		return fmt.Errorf("%w: currency %.10q", ErrPrice, p.Currency)
	}
	return nil
}
