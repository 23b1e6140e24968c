package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Figure is one row of the table.
type Figure struct {
	Name  string
	Aim   string // as the issue names it; "report" has none
	Unit  string
	Met   func(median, floor float64) bool // nil: nothing to meet
	Runs  []float64
	Floor []float64 // the same work by the bare client or syscall, run by run
	Note  string
}

// figureColumns is the head of the table that most figures are in.
const figureColumns = "figure | aim | median | least – greatest | floor | note"

// table prints rows in Markdown, and a head whenever the columns are others.
type table struct {
	out     io.Writer
	columns string
}

func (t *table) print(columns, row string) {
	if columns != t.columns {
		t.columns = columns
		fmt.Fprintf(t.out, "\n| %s |\n|%s\n", columns, strings.Repeat("---|", 1+strings.Count(columns, " | ")))
	}
	fmt.Fprintln(t.out, row)
}

// cells is one row.
func cells(list ...string) string { return "| " + strings.Join(list, " | ") + " |" }

// row is the figure in Markdown, its median and the whole spread.
func (f Figure) row() string { return cells(append(f.head(), f.beside(), f.Note)...) }

// head is the first four cells: what it is, its aim, the median and the spread.
func (f Figure) head() []string {
	spread := "–"
	if len(f.Runs) > 1 {
		spread = fmt.Sprintf("%s – %s (%d runs)", number(slices.Min(f.Runs)), number(slices.Max(f.Runs)), len(f.Runs))
	}
	aim := f.Aim
	if f.Met != nil {
		if f.Met(median(f.Runs), median(f.Floor)) {
			aim += ", met"
		} else {
			aim += ", **missed**"
		}
	}
	return []string{f.Name, aim, number(median(f.Runs)) + " " + f.Unit, spread}
}

// beside is the floor, and how many times it the figure is.
func (f Figure) beside() string {
	if len(f.Floor) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (× %.2f)", number(median(f.Floor)), median(f.Runs)/median(f.Floor))
}

func atLeast(aim float64) func(median, floor float64) bool {
	return func(m, _ float64) bool { return m >= aim }
}

func atMost(aim float64) func(median, floor float64) bool {
	return func(m, _ float64) bool { return m <= aim }
}

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(xs))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// middle is the run that is nearest to the median: what is told of one run only is told
// of that one.
func middle(runs []float64) (at int) {
	m := median(runs)
	for i, r := range runs {
		if math.Abs(r-m) < math.Abs(runs[at]-m) {
			at = i
		}
	}
	return at
}

// count prints a whole number, thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// number prints three or more digits that mean something, thousands apart.
func number(x float64) string {
	switch a := math.Abs(x); {
	case a >= 1000:
		return count(int64(math.Round(x)))
	case a >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case a >= 1 || a == 0:
		return strconv.FormatFloat(x, 'f', 2, 64)
	default:
		return strconv.FormatFloat(x, 'f', 4, 64)
	}
}
