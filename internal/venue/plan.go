package venue

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"waitroom/internal/seat"
)

// Bounds of a plan file.
const (
	// MaxBytes is twice what seat.MaxPerRoom lines of the longest names take, in quotes.
	MaxBytes = 16 << 20
	// MaxCategories is more than a house has: each is a line of the report, and of the plan
	// that each page loads.
	MaxCategories = 100
	// MaxUnnumbered is how many places one section of general admission has, which the
	// number in a seat's name bounds.
	MaxUnnumbered = 9999
)

// Plan is the seats of a sale. Never changed.
type Plan struct {
	Seats []Seat // by name, as SQL orders names
}

// Seat is one seat of a plan.
type Seat struct {
	ID         seat.ID
	Category   string
	Unnumbered bool // a place of general admission, which nobody chooses by its number
	seat.Price
}

// Prices are what the categories of a CSV file cost.
type Prices struct {
	Currency string           // ISO 4217; "" where all of them cost nothing
	Amounts  map[string]int64 // by category, in minor units
}

// ParsePrices reads "CATEGORY=AMOUNT" of each in list.
func ParsePrices(list []string, currency string) (Prices, error) {
	p := Prices{Currency: currency, Amounts: map[string]int64{}}
	var faults Faults
	for _, one := range list {
		name, text, _ := strings.Cut(one, "=")
		at := place{path: fmt.Sprintf("--price %.50q", one)}
		amount, err := strconv.ParseInt(text, 10, 64)
		_, twice := p.Amounts[name]
		switch {
		case !categoryPattern.MatchString(name):
			faults.add(at, Category, wantCategory)
		case err != nil:
			faults.add(at, Price, "want a whole number of the currency's smallest unit behind =, as A=1250 for EUR 12.50")
		case twice:
			faults.add(at, Twice, "the category has a price already")
		default:
			p.Amounts[name] = amount
		}
	}
	faults.checkPrices(p, func(name string) place { return place{path: "--price " + name} }, place{path: "--currency"})
	return p, faults.err()
}

var (
	// categoryPattern leaves out what a table would take for a formula or a column's end.
	categoryPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,30}[A-Za-z0-9])?$`)
	partPattern     = regexp.MustCompile(`^[A-Z0-9]{1,8}$`)
	numberPattern   = regexp.MustCompile(`^[1-9][0-9]{0,3}$`)
)

const (
	wantCategory = "want a category of 1 to 32 letters and digits, with blanks, dots, dashes and underscores between them"
	wantPart     = "want 1 to 8 of A-Z and 0-9"
	wantNumber   = "want a number from 1 to 9999 without zeros before it"
)

// checkPrices notes what is wrong with the prices of categories.
func (f *Faults) checkPrices(p Prices, at func(category string) place, currency place) {
	costs := false
	for _, name := range slices.Sorted(maps.Keys(p.Amounts)) {
		amount := p.Amounts[name]
		costs = costs || amount > 0
		if amount < 0 || amount > seat.MaxAmount {
			f.add(at(name), Price, fmt.Sprintf("want an amount from 0 to %d, got %d", int64(seat.MaxAmount), amount))
		}
	}
	if len(p.Amounts) > MaxCategories {
		f.add(at(""), TooMany, fmt.Sprintf("want at most %d categories", MaxCategories))
	}
	switch {
	case p.Currency != "" && seat.Price{Amount: 1, Currency: p.Currency}.Check() != nil:
		f.add(currency, Currency, "want three letters of ISO 4217, such as EUR")
	case p.Currency == "" && costs:
		f.add(currency, Currency, "want the currency of the prices, such as EUR")
	}
}

// builder gathers the seats of a file.
type builder struct {
	prices Prices
	faults Faults
	seats  []Seat
	where  map[seat.ID]place
	lacks  map[string]bool // categories without a price, each told once
	full   bool            // there are more seats than a room may have
}

func newBuilder(prices Prices) *builder {
	return &builder{prices: prices, where: map[seat.ID]place{}, lacks: map[string]bool{}}
}

// category reports whether it is one that has a price.
func (b *builder) category(at place, name string) bool {
	if !categoryPattern.MatchString(name) {
		b.faults.add(at, Category, fmt.Sprintf("%s, got %.40q", wantCategory, name))
		return false
	}
	if _, ok := b.prices.Amounts[name]; ok {
		return true
	}
	if !b.lacks[name] && len(b.lacks) < MaxCategories {
		b.lacks[name] = true
		b.faults.add(at, PriceMissing, fmt.Sprintf("category %q has no price; 0 is one", name))
	}
	return false
}

// part reports whether text may be a section's or a row's name.
func (b *builder) part(at place, what, text string) bool {
	if partPattern.MatchString(text) {
		return true
	}
	b.faults.add(at, Name, fmt.Sprintf("%s %.20q: %s", what, text, wantPart))
	return false
}

// add notes a seat whose parts are good. It returns false when there is room for no more.
func (b *builder) add(at place, id seat.ID, category string, unnumbered bool) bool {
	if b.full {
		return false
	}
	first, twice := b.where[id]
	switch {
	case twice:
		b.faults.add(at, Twice, fmt.Sprintf("seat %s stands at %s already", id, first))
		return b.faults.count() < seat.MaxPerRoom // who repeats more is not read on
	case len(b.where) == seat.MaxPerRoom:
		b.full = true
		b.faults.add(at, TooMany, fmt.Sprintf("a room has at most %d seats; the rest is not read", seat.MaxPerRoom))
		return false
	}
	b.where[id] = at
	price := seat.Price{Amount: b.prices.Amounts[category], Currency: b.prices.Currency}
	if price.Amount == 0 {
		price.Currency = ""
	}
	b.seats = append(b.seats, Seat{ID: id, Category: category, Unnumbered: unnumbered, Price: price})
	return true
}

// plan is what was gathered, or what is wrong with it.
func (b *builder) plan() (*Plan, error) {
	if len(b.seats) == 0 && b.faults.count() == 0 {
		b.faults.add(place{}, Empty, "there is no seat in it")
	}
	if err := b.faults.err(); err != nil {
		return nil, err
	}
	slices.SortFunc(b.seats, func(x, y Seat) int { return cmp.Compare(x.ID, y.ID) })
	return &Plan{Seats: b.seats}, nil
}
