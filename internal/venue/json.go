package venue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The form of a JSON plan.
type (
	planFile struct {
		Currency   string         `json:"currency"`
		Categories []categoryFile `json:"categories"`
		Sections   []sectionFile  `json:"sections"`
	}
	categoryFile struct {
		Category string `json:"category"`
		Amount   *int64 `json:"amount"` // in minor units
	}
	// A section has rows of seats, or a count of places without numbers.
	sectionFile struct {
		Section  string    `json:"section"`  // "" in a house without sections
		Category string    `json:"category"` // of its rows that name none
		Rows     []rowFile `json:"rows"`
		Count    *int      `json:"count"`
	}
	rowFile struct {
		Row      string `json:"row"`
		Seats    string `json:"seats"` // runs of numbers, as in the plan of the map: "1-20,22"
		Category string `json:"category"`
	}
)

// maxDepth is more than the form of a plan has.
const maxDepth = 16

// ReadJSON reads a plan with its prices. Its error is a *Faults, or that of r.
func ReadJSON(r io.Reader) (*Plan, error) {
	b := newBuilder(Prices{Amounts: map[string]int64{}})
	text, err := io.ReadAll(&bounded{r, MaxBytes})
	switch {
	case errors.Is(err, errTooLarge):
		b.faults.add(place{}, TooLarge, fmt.Sprintf("the file has more than %d bytes", MaxBytes))
		return b.plan()
	case err != nil:
		return nil, err
	}
	text = bytes.TrimPrefix(text, utf8Mark)
	if !utf8.Valid(text) {
		b.faults.add(place{}, Encoding, "want UTF-8")
		return b.plan()
	}
	var file planFile
	if offset, err := decode(text, &file); err != nil {
		b.faults.add(place{line: 1 + bytes.Count(text[:min(offset, len(text))], []byte("\n"))}, JSON, err.Error())
		return b.plan()
	}
	at := map[string]place{}
	b.prices.Currency = file.Currency
	for i, c := range file.Categories {
		here := place{path: fmt.Sprintf("categories[%d]", i)}
		_, twice := b.prices.Amounts[c.Category]
		switch {
		case !categoryPattern.MatchString(c.Category):
			b.faults.add(here, Category, wantCategory)
		case twice:
			b.faults.add(here, Twice, fmt.Sprintf("category %q has a price already", c.Category))
		case c.Amount == nil:
			b.faults.add(here, PriceMissing, fmt.Sprintf("category %q has no amount; 0 is one", c.Category))
			b.lacks[c.Category] = true
		default:
			b.prices.Amounts[c.Category], at[c.Category] = *c.Amount, place{path: here.path + ".amount"}
		}
	}
	b.faults.checkPrices(b.prices, func(name string) place {
		if name == "" {
			return place{path: "categories"}
		}
		return at[name]
	}, place{path: "currency"})
	for i, s := range file.Sections {
		b.section(place{path: fmt.Sprintf("sections[%d]", i)}, s)
		if b.full {
			break
		}
	}
	return b.plan()
}

// section takes one section.
func (b *builder) section(at place, s sectionFile) {
	if s.Count != nil {
		good := b.part(place{path: at.path + ".section"}, "section", s.Section)
		good = b.category(place{path: at.path + ".category"}, s.Category) && good
		switch {
		case len(s.Rows) > 0:
			b.faults.add(at, JSON, "a section has rows or a count, not both")
			return
		case *s.Count < 1 || *s.Count > MaxUnnumbered:
			b.faults.add(place{path: at.path + ".count"}, TooMany, fmt.Sprintf("want 1 to %d places, got %d; more stand in further sections", MaxUnnumbered, *s.Count))
			return
		case !good:
			return
		}
		for n := 1; n <= *s.Count; n++ {
			if !b.add(at, nameOf("", s.Section, strconv.Itoa(n)), s.Category, true) {
				return
			}
		}
		return
	}
	good := s.Section == "" || b.part(place{path: at.path + ".section"}, "section", s.Section)
	if len(s.Rows) == 0 {
		b.faults.add(at, Empty, "want rows or a count")
	}
	for i, row := range s.Rows {
		here := place{path: fmt.Sprintf("%s.rows[%d]", at.path, i)}
		category := row.Category
		if category == "" {
			category = s.Category
		}
		fit := b.part(place{path: here.path + ".row"}, "row", row.Row)
		fit = b.category(place{path: here.path + ".category"}, category) && fit
		b.runs(place{path: here.path + ".seats"}, row.Seats, func(n int) bool {
			return fit && good && b.add(here, nameOf(s.Section, row.Row, strconv.Itoa(n)), category, false)
		})
		if b.full {
			return
		}
	}
}

// runs calls add for each number of "1-20,22", until it returns false.
func (b *builder) runs(at place, text string, add func(n int) bool) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, run := strings.Cut(part, "-")
		if !run {
			to = from
		}
		first, _ := strconv.Atoi(from) // digits, or refused below
		last, _ := strconv.Atoi(to)
		if !numberPattern.MatchString(from) || !numberPattern.MatchString(to) || first > last {
			b.faults.add(at, Name, fmt.Sprintf("%.20q: want numbers from 1 to 9999, as 1-20,22", part))
			continue
		}
		for n := first; n <= last; n++ {
			if !add(n) {
				return
			}
		}
	}
}

// decode reads one object without anything that a plan does not have. offset is where
// reading ended.
func decode(text []byte, into *planFile) (offset int, err error) {
	if offset, err := checkKeys(text); err != nil {
		return offset, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(into)
	var form *json.UnmarshalTypeError
	switch {
	case errors.As(err, &form):
		return int(form.Offset), fmt.Errorf("%s: got a %s, which does not fit", form.Field, form.Value)
	case err != nil:
		return int(d.InputOffset()), err
	}
	return 0, nil
}

// checkKeys finds what the decoder passes over: a key that stands twice in one object, in
// whatever letters, and more than one value.
func checkKeys(text []byte) (offset int, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	err = checkValue(d, maxDepth)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more behind the plan")
		}
	}
	var torn *json.SyntaxError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &torn):
		return int(torn.Offset), err
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return len(text), errors.New("the file ends within the plan")
	}
	return int(d.InputOffset()), err
}

func checkValue(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == 0 {
		return fmt.Errorf("more than %d objects within each other", maxDepth)
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string) // the decoder lets nothing else stand there
			if name = strings.ToLower(name); seen[name] {
				return fmt.Errorf("key %.40q stands twice", name)
			}
			seen[name] = true
		}
		if err := checkValue(d, depth-1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the end of it
	return err
}
