package venue

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"waitroom/internal/seat"
)

// columns of a CSV file; section may be left out in a house without sections.
var columns = []string{"section", "row", "seat", "category"}

// errTooLarge is a file of more than MaxBytes.
var errTooLarge = errors.New("the file is too large")

// bounded reads MaxBytes at most.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	n, err := b.r.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// The marks with which a text says how it is encoded.
var (
	utf8Mark   = []byte("\xef\xbb\xbf")
	utf16Marks = [][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}
)

// ReadCSV reads a plan of lines, as RFC 4180 has them, with a header of column names in
// any order. Its error is a *Faults, or that of r. What it keeps in memory is bounded by
// MaxBytes and seat.MaxPerRoom.
func ReadCSV(r io.Reader, prices Prices) (*Plan, error) {
	b := newBuilder(prices)
	text := bufio.NewReader(&bounded{r, MaxBytes})
	mark, err := text.Peek(len(utf8Mark))
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.Equal(mark, utf8Mark) {
		_, _ = text.Discard(len(utf8Mark)) // is in the buffer
	}
	if slices.ContainsFunc(utf16Marks, func(m []byte) bool { return bytes.HasPrefix(mark, m) }) {
		b.faults.add(place{line: 1}, Encoding, "the file is UTF-16, want UTF-8")
		return b.plan()
	}
	lines := csv.NewReader(text)
	lines.FieldsPerRecord, lines.ReuseRecord = -1, true // counted here, to go on with the next line
	header, ok, err := b.line(lines)
	if err != nil {
		return nil, err
	}
	if !ok {
		return b.plan()
	}
	at, good := b.header(header)
	if !good {
		return b.plan()
	}
	for {
		cells, ok, err := b.line(lines)
		if err != nil {
			return nil, err
		}
		if !ok {
			return b.plan()
		}
		number, _ := lines.FieldPos(0)
		if !b.row(place{line: number}, at, cells) {
			return b.plan()
		}
	}
}

// line is the next one; not ok: there is none, or none that could be read.
func (b *builder) line(lines *csv.Reader) (cells []string, ok bool, err error) {
	cells, err = lines.Read()
	var torn *csv.ParseError
	switch {
	case err == nil:
		return cells, true, nil
	case errors.Is(err, io.EOF):
		return nil, false, nil
	case errors.As(err, &torn):
		b.faults.add(place{line: torn.StartLine}, Quotes, "a quote that is not closed, or stands in a cell without quotes around it; the rest is not read")
		return nil, false, nil
	case errors.Is(err, errTooLarge):
		b.faults.add(place{}, TooLarge, fmt.Sprintf("the file has more than %d bytes", MaxBytes))
		return nil, false, nil
	}
	return nil, false, err
}

// header says which cell of a line is which column; -1: it is not there.
func (b *builder) header(cells []string) (at [4]int, good bool) {
	line := place{line: 1}
	if len(cells) == 1 && strings.ContainsAny(cells[0], ";\t") {
		b.faults.add(line, Separator, "the columns have semicolons or tabs between them, want commas")
		return at, false
	}
	at = [4]int{-1, -1, -1, -1}
	for i, cell := range cells {
		if !b.cell(line, cell) {
			continue
		}
		which := slices.Index(columns, strings.ToLower(strings.TrimSpace(cell)))
		switch {
		case which < 0:
			b.faults.add(line, ColumnUnknown, fmt.Sprintf("column %.40q, want %s", cell, strings.Join(columns, ", ")))
		case at[which] >= 0:
			b.faults.add(line, ColumnTwice, "column "+columns[which])
		default:
			at[which] = i
		}
	}
	for i, name := range columns[1:] {
		if at[i+1] < 0 {
			b.faults.add(line, ColumnMissing, "column "+name)
		}
	}
	return at, b.faults.count() == 0
}

// cell reports whether a cell holds text of which nothing is hidden, and which no table
// reckons with.
func (b *builder) cell(at place, text string) bool {
	switch {
	case !utf8.ValidString(text):
		b.faults.add(at, Encoding, fmt.Sprintf("cell %.20q is not UTF-8", text))
	case strings.ContainsFunc(text, unicode.IsControl):
		b.faults.add(at, Control, fmt.Sprintf("cell %.20q has a control character", text))
	case text != "" && strings.ContainsRune("=+-@", rune(text[0])):
		b.faults.add(at, Formula, fmt.Sprintf("cell %.20q begins as a formula does", text))
	default:
		return true
	}
	return false
}

// row takes one line. It returns false when no further one is to be read.
func (b *builder) row(at place, column [4]int, cells []string) bool {
	width := 0
	for _, i := range column {
		width = max(width, i+1)
	}
	if len(cells) != width {
		b.faults.add(at, Cells, fmt.Sprintf("got %d cells, want %d", len(cells), width))
		return true
	}
	good := true
	for _, cell := range cells {
		good = b.cell(at, cell) && good
	}
	if !good {
		return true
	}
	section, row, number, category := "", cells[column[1]], cells[column[2]], strings.Clone(cells[column[3]])
	if column[0] >= 0 {
		section = cells[column[0]]
	}
	good = section == "" || b.part(at, "section", section)
	good = b.part(at, "row", row) && good
	if !numberPattern.MatchString(number) {
		b.faults.add(at, Name, fmt.Sprintf("seat %.20q: %s", number, wantNumber))
		good = false
	}
	good = b.category(at, category) && good
	if !good {
		return true
	}
	return b.add(at, nameOf(section, row, number), category, false)
}

// nameOf puts parts that are good together.
func nameOf(section, row, number string) seat.ID {
	if section != "" {
		row = section + "-" + row
	}
	return seat.ID(row + "-" + number)
}
