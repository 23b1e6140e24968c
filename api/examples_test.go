package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"waitroom/api/apitest"
	"waitroom/internal/wire"
)

func newShop(t *testing.T) *apitest.Shop {
	t.Helper()
	s, err := apitest.NewShop()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read decodes a file of another package's tests.
func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		out := json.NewDecoder(bytes.NewReader(text))
		out.UseNumber()
		err = out.Decode(into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func names(t *testing.T, pattern string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: got %v, %v, want files", pattern, files, err)
	}
	for _, file := range files {
		list = append(list, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	}
	return list
}

// The examples are what the shop's own tests hold its answers to, each at the operation and
// the status that it was given with; and every golden answer is one.
func TestExamplesAreGolden(t *testing.T) {
	const answers, maps_, live = "../internal/shop/testdata/answers/", "../internal/seatmap/testdata/", "../internal/shop/testdata/live/"
	contract := newShop(t)
	left := contract.Examples()
	same := func(name string, want any) {
		t.Helper()
		if got := left[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("example %s: got %v, want %v", name, got, want)
		}
		delete(left, name)
	}
	for _, name := range names(t, answers+"*.json") {
		var g struct {
			Method, Path string
			Status       int
			Header       map[string]string
			Body         json.RawMessage
			Send         json.RawMessage
		}
		read(t, answers+name+".json", &g)
		header := http.Header{}
		for name, value := range g.Header {
			header.Set(name, value)
		}
		if err := contract.Check(apitest.Answer{Method: g.Method, Path: g.Path, Sent: g.Send, Status: g.Status, Header: header, Body: g.Body}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if g.Body == nil {
			continue // nothing to show
		}
		var body any
		read(t, answers+name+".json", &struct{ Body *any }{&body})
		same(name, body)
		if !contract.Shows(name, g.Method, g.Path, g.Status) {
			t.Errorf("example %s does not stand at %s %s %d", name, g.Method, g.Path, g.Status)
		}
	}
	for _, name := range names(t, maps_+"*.json") {
		var body any
		read(t, maps_+name+".json", &body)
		same(name, body)
	}
	for _, name := range names(t, live+"*.txt") {
		if name == "changes_of_all_states" || name == "seats_of_another_plan" {
			continue // as two others, to whoever reads a page
		}
		text, err := os.ReadFile(live + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		same("live_"+name, string(text))
	}
	for name := range left {
		t.Errorf("example %s is of no golden file", name)
	}
}

func TestEveryComponentIsUsed(t *testing.T) {
	if got := newShop(t).Unused(); len(got) > 0 {
		t.Errorf("got %q that nothing refers to", got)
	}
}

// A code is the shop's or the line's, or both; none of the table is in no contract.
func TestEveryCodeIsInAContract(t *testing.T) {
	got := slices.Concat(newShop(t).Codes(), newLine(t).Codes())
	slices.Sort(got)
	want := slices.Sorted(maps.Keys(wire.Codes))
	if got = slices.Compact(got); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got the codes %q, want %q", got, want)
	}
}
