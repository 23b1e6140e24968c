package seatmap

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"waitroom/internal/seat"
)

// plan is which seats a room has, in which order, and what is said of each. Never changed.
type plan struct {
	version string // the same on every booker for the same seats in the same order
	ids     []seat.ID
	index   map[seat.ID]int32
	kinds   []kind // that there are, in the order of the first seat of each; and one more than maxKinds at most
	kindOf  []uint16
	body    packed
}

// kind is what a plan says of a seat.
type kind struct {
	category   string
	unnumbered bool
	price      seat.Price
}

func kindOf(s seat.Seat) kind { return kind{s.Category, s.Unnumbered, s.Price} }

// maxKinds is far more than a house has. Of seats beyond them the plan says nothing, which
// is what an older booker says of all.
const maxKinds = 1000

// The shape of a plan as it is sent. What a later version adds to a section, a row
// or beside them is ignored by who does not know it.
type (
	planBody struct {
		Version  string        `json:"version"`
		Seats    int           `json:"seats"`
		Prices   []planPrice   `json:"prices,omitempty"` // none: nothing is said of any seat
		Sections []planSection `json:"sections"`
	}
	planPrice struct {
		Category string `json:"category"`
		Amount   int64  `json:"amount"`             // in minor units
		Currency string `json:"currency,omitempty"` // none: it costs nothing
	}
	planSection struct {
		Name string    `json:"name"` // "" where a room has no sections
		Rows []planRow `json:"rows"`
	}
	planRow struct {
		Name  string `json:"name"`
		Seats string `json:"seats"` // runs of numbers: "1-20,22"
		// Prices are runs of the row's seats in their order: which of the plan's prices, and how
		// many seats. None: all have the plan's first one.
		Prices [][2]int `json:"prices,omitempty"`
		// Unnumbered rows are general admission: nobody chooses one of their places.
		Unnumbered bool `json:"unnumbered,omitempty"`

		length int // seats of the row
	}
)

func newPlan(seats []seat.Seat) *plan {
	p := &plan{ids: make([]seat.ID, len(seats)), index: make(map[seat.ID]int32, len(seats))}
	for i, s := range seats {
		// A copy: the text of a row may be part of a greater one.
		p.ids[i] = seat.ID(strings.Clone(string(s.ID)))
		p.index[p.ids[i]] = int32(i) // seat.MaxPerRoom fits
	}
	p.readKinds(seats)
	body := planBody{Seats: len(seats), Sections: sectionsOf(p.ids)}
	p.tellKinds(&body)
	b, _ := json.Marshal(body.Sections) // texts only
	if len(body.Prices) > 0 {
		// Apart, so that the version of a plan without prices is that of an older booker.
		prices, _ := json.Marshal(body.Prices) // texts and numbers only
		b = append(b, prices...)
	}
	sum := sha256.Sum256(b)
	body.Version = hex.EncodeToString(sum[:6])
	b, _ = json.Marshal(body)
	p.version, p.body = body.Version, pack(b, gzip.BestCompression)
	return p
}

// sectionsOf groups seats that follow each other.
func sectionsOf(ids []seat.ID) (sections []planSection) {
	var runs []byte
	first, last := 0, 0 // the run that is open
	end := func() {
		if first == 0 {
			return
		}
		if len(runs) > 0 {
			runs = append(runs, ',')
		}
		runs = strconv.AppendInt(runs, int64(first), 10)
		if last > first {
			runs = append(runs, '-')
			runs = strconv.AppendInt(runs, int64(last), 10)
		}
		first = 0
	}
	var row *planRow
	endRow := func() {
		end()
		if row != nil {
			row.Seats = string(runs)
		}
		runs = runs[:0]
	}
	for _, id := range ids {
		inSection, inRow, number := split(id)
		if len(sections) == 0 || sections[len(sections)-1].Name != inSection {
			endRow()
			row = nil
			sections = append(sections, planSection{Name: inSection})
		}
		s := &sections[len(sections)-1]
		if row == nil || row.Name != inRow {
			endRow()
			s.Rows = append(s.Rows, planRow{Name: inRow})
			row = &s.Rows[len(s.Rows)-1]
		}
		row.length++
		if first > 0 && number == last+1 {
			last = number
			continue
		}
		end()
		first, last = number, number
	}
	endRow()
	return sections
}

// split takes a seat's name apart: "LEFT-A-12" or "A-12".
func split(id seat.ID) (section, row string, number int) {
	dash := strings.LastIndexByte(string(id), '-')
	section, row, ok := strings.Cut(string(id[:max(0, dash)]), "-")
	if !ok {
		section, row = "", section
	}
	number, _ = strconv.Atoi(string(id[dash+1:])) // a seat.ID: digits
	return section, row, number
}

// same reports whether seats are those of the plan, in its order, and as it says.
func (p *plan) same(seats []seat.Seat) bool {
	return len(seats) == len(p.ids) && !slices.ContainsFunc(seats, func(s seat.Seat) bool {
		i, ok := p.index[s.ID]
		return !ok || seats[i].ID != s.ID || p.kinds[p.kindOf[i]] != kindOf(s) && len(p.kinds) < maxKinds
	})
}
