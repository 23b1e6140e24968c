package venue

import (
	"errors"
	"fmt"
)

// Code names what is wrong, for programs: a code never changes what it means.
type Code string

// What can be wrong with a plan file.
const (
	TooLarge      Code = "file_large"     // more than MaxBytes
	Encoding      Code = "encoding"       // not UTF-8
	Empty         Code = "empty"          // no seat in it
	Separator     Code = "separator"      // columns without commas between them
	ColumnUnknown Code = "column_unknown" //
	ColumnTwice   Code = "column_twice"   //
	ColumnMissing Code = "column_missing" //
	Quotes        Code = "quotes"         // not as RFC 4180 has them
	Cells         Code = "cells"          // more or fewer than there are columns
	Control       Code = "control"        // a control character
	Formula       Code = "formula"        // what a table would reckon with
	Name          Code = "name"           // a section, row or seat
	Category      Code = "category"       // its name
	Twice         Code = "twice"          // a seat or a category
	TooMany       Code = "too_many"       // seats of a room, or categories
	Price         Code = "price"          // negative, too large, no whole number
	PriceMissing  Code = "price_missing"  // of a category
	Currency      Code = "currency"       // missing, or none
	JSON          Code = "json"           // not of the form that a plan has
)

// MaxFaults are told in full; of more only how many.
const MaxFaults = 20

// place is where something stands in a file.
type place struct {
	line int    // of a CSV file, from 1; of JSON that can't be read, too
	path string // in a JSON file, or a flag
}

func (p place) String() string {
	if p.path != "" {
		return p.path
	}
	return fmt.Sprintf("line %d", p.line)
}

// Fault is one thing that is wrong. Its text quotes the file in a form that is safe to
// print.
type Fault struct {
	Line int    // 0: it is not of one line
	Path string // "": it is not of a path
	Code Code
	Text string
}

func (f Fault) Error() string {
	text := string(f.Code) + ": " + f.Text
	if f.Path != "" {
		text = f.Path + ": " + text
	}
	if f.Line > 0 {
		text = fmt.Sprintf("line %d: %s", f.Line, text)
	}
	return text
}

// Faults is all that is wrong with a file, as an error.
type Faults struct {
	List []Fault // the first MaxFaults, in the order of the file
	More int     // that are not in the list
}

func (f *Faults) Error() string { return errors.Join(f.Unwrap()...).Error() }

// Unwrap is a line for each.
func (f *Faults) Unwrap() (list []error) {
	for _, one := range f.List {
		list = append(list, one)
	}
	if f.More > 0 {
		list = append(list, fmt.Errorf("and %d more", f.More))
	}
	return list
}

func (f *Faults) add(at place, code Code, text string) {
	if len(f.List) == MaxFaults {
		f.More++
		return
	}
	f.List = append(f.List, Fault{Line: at.line, Path: at.path, Code: code, Text: text})
}

func (f *Faults) count() int { return len(f.List) + f.More }

// err is f, or nil where nothing is wrong.
func (f *Faults) err() error {
	if f.count() == 0 {
		return nil
	}
	return f
}
