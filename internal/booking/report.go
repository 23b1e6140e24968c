package booking

import (
	"cmp"
	"context"
	"slices"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// SeatCount is how many seats there are, by state. Held are those that somebody may still
// give back.
type SeatCount struct {
	Total   int `json:"total"`
	Free    int `json:"free"`
	Held    int `json:"held"`
	Blocked int `json:"blocked"`
	Booked  int `json:"booked"`
}

func (c *SeatCount) add(s seat.State) {
	c.Total++
	switch s {
	case seat.Free:
		c.Free++
	case seat.Booked:
		c.Booked++
	case seat.Blocked:
		c.Blocked++
	default:
		c.Held++
	}
}

// Money is what booked seats cost, in minor units. What a shop sold that takes no money is
// neither captured nor open: nobody was asked for it.
type Money struct {
	Booked   int64 `json:"booked"`
	Captured int64 `json:"captured"` // of it, what was taken
	Open     int64 `json:"open"`     // of it, what is reserved and not taken yet
}

// unpaid is when money was captured that nobody was asked for.
const unpaid = -1

func (m *Money) add(amount, capturedMS int64) {
	m.Booked += amount
	switch {
	case capturedMS > 0:
		m.Captured += amount
	case capturedMS != unpaid:
		m.Open += amount
	}
}

// CategoryReport is one category of a room, as far as it costs one currency.
type CategoryReport struct {
	Category string    `json:"category"` // "": seats without a plan
	Currency string    `json:"currency"` // "": they cost nothing
	Seats    SeatCount `json:"seats"`
	Money    Money     `json:"money"`
}

// CurrencyReport is all money of one currency.
type CurrencyReport struct {
	Currency string `json:"currency"`
	Money    Money  `json:"money"`
	// Bookings is what the bookings say that they cost, which is Money.Booked, unless an
	// older booker sold seats without their price, or a hand changed a row.
	Bookings int64 `json:"bookings"`
}

// NoteReport is how many seats are blocked with one note.
type NoteReport struct {
	Note  string `json:"note"`
	Seats int    `json:"seats"`
}

// Report is what a room has sold.
type Report struct {
	Room       room.Name        `json:"room"`
	Seats      SeatCount        `json:"seats"`
	Categories []CategoryReport `json:"categories"` // by name and currency
	Money      []CurrencyReport `json:"money"`      // by currency
	Blocked    []NoteReport     `json:"blocked"`    // by note
}

// Report counts the seats of a room and their money, as of one moment: it is one statement.
// seat.ErrNoRoom: there are none. It reads each seat, seat.MaxPerRoom at most.
func (s *Store) Report(ctx context.Context, name room.Name) (Report, error) {
	var rows []struct {
		State    seat.State `db:"state"`
		Category string     `db:"category"`
		Note     string     `db:"note"`
		seat.Price
		Booking  string `db:"booking"` // "": it is not booked
		Cost     int64  `db:"cost"`    // of the whole booking
		Paid     string `db:"paid"`    // its currency
		Captured int64  `db:"captured"`
	}
	err := s.db.SelectContext(ctx, &rows, `SELECT s.state, s.category, s.note, s.amount, s.currency, COALESCE(b.hold, '') AS booking,
		COALESCE(b.amount, 0) AS cost, COALESCE(b.currency, '') AS paid, CASE WHEN b.payment LIKE 'free-%' THEN -1 ELSE COALESCE(b.captured_ms, 0) END AS captured
		FROM seats s LEFT JOIN bookings b ON b.hold = s.hold WHERE s.room = ?`, name)
	if err != nil {
		return Report{}, err
	}
	if len(rows) == 0 {
		return Report{}, seat.ErrNoRoom
	}
	type group struct{ category, currency string }
	categories, currencies, notes := map[group]*CategoryReport{}, map[string]*CurrencyReport{}, map[string]int{}
	money := func(currency string) *CurrencyReport {
		if currencies[currency] == nil {
			currencies[currency] = &CurrencyReport{Currency: currency}
		}
		return currencies[currency]
	}
	seen := map[string]bool{} // bookings
	r := Report{Room: name}
	for _, row := range rows {
		r.Seats.add(row.State)
		g := group{row.Category, row.Currency}
		if categories[g] == nil {
			categories[g] = &CategoryReport{Category: row.Category, Currency: row.Currency}
		}
		categories[g].Seats.add(row.State)
		if row.State == seat.Blocked {
			notes[row.Note]++
		}
		if row.State != seat.Booked {
			continue
		}
		categories[g].Money.add(row.Amount, row.Captured)
		if row.Currency != "" {
			money(row.Currency).Money.add(row.Amount, row.Captured)
		}
		if row.Booking != "" && !seen[row.Booking] && row.Paid != "" {
			money(row.Paid).Bookings += row.Cost
		}
		seen[row.Booking] = true
	}
	for _, c := range categories {
		r.Categories = append(r.Categories, *c)
	}
	slices.SortFunc(r.Categories, func(a, b CategoryReport) int {
		return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Currency, b.Currency))
	})
	r.Money, r.Blocked = []CurrencyReport{}, []NoteReport{} // lists in JSON, never null
	for _, c := range sorted(currencies) {
		r.Money = append(r.Money, *currencies[c])
	}
	for _, note := range sorted(notes) {
		r.Blocked = append(r.Blocked, NoteReport{note, notes[note]})
	}
	return r, nil
}
