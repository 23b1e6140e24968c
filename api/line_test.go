package api_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"waitroom/api/apitest"
	"waitroom/internal/wire"
)

func newLine(t testing.TB) *apitest.Line {
	t.Helper()
	l, err := apitest.NewLine()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Every golden message is one of the contract and its example, and every example is golden.
// What the messages have was met.
func TestMessagesAreGolden(t *testing.T) {
	contract := newLine(t)
	left := contract.Examples()
	met := map[string]bool{}
	for from, folder := range map[string]string{apitest.Visitor: "visitor", apitest.Node: "server"} {
		folder = "../internal/wire/testdata/" + folder + "/"
		for _, name := range names(t, folder+"*.json") {
			text, err := os.ReadFile(folder + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if err := contract.Frame(from, text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			var want map[string]any
			read(t, folder+name+".json", &want)
			if got := left[name]; !reflect.DeepEqual(got, any(want)) {
				t.Errorf("example %s: got %v, want %v", name, got, want)
			}
			delete(left, name)
			met[from+" "+fmt.Sprint(want["type"])] = true
		}
		for _, kind := range contract.Messages(from) {
			if !met[from+" "+kind] {
				t.Errorf("%s %s has no golden file", from, kind)
			}
		}
	}
	for name := range left {
		t.Errorf("example %s is of no golden file", name)
	}
	for _, code := range contract.Errors() {
		if err := contract.Frame(apitest.Node, wire.EncodeError(wire.Code(code))); err != nil {
			t.Error(err)
		}
	}
	if got := contract.Unsaid(); len(got) > 0 {
		t.Errorf("got %q that no golden file has", got)
	}
}

// What a visitor may not say is no message of the contract either.
func TestBadMessagesAreBad(t *testing.T) {
	contract := newLine(t)
	for _, text := range []string{`[]`, `{"type":1}`, `{}`, `{"type":"dance"}`, `{"type":"position"}`, `{"type":"join","place":7}`} {
		if _, err := wire.DecodeRequest([]byte(text)); err == nil || contract.Frame(apitest.Visitor, []byte(text)) == nil {
			t.Errorf("%s: got %v of the node and %v of the contract, want both to refuse it", text, err, contract.Frame(apitest.Visitor, []byte(text)))
		}
	}
}

// The close codes and what is said before the upgrade are those of the table of codes.
func TestClosesAreThoseOfTheTable(t *testing.T) {
	contract := newLine(t)
	want := map[int][]string{wire.CloseDone: nil} // which no error comes before
	for code, m := range wire.Codes {
		if m.Close != 0 {
			want[m.Close] = append(want[m.Close], string(code))
		}
	}
	for _, codes := range want {
		slices.Sort(codes)
	}
	if got := contract.Closes(); !reflect.DeepEqual(got, want) {
		t.Errorf("got the close codes %v, want %v", got, want)
	}
	for status, codes := range contract.Refusals() {
		for _, code := range codes {
			if got := wire.Codes[wire.Code(code)].HTTP; got != status {
				t.Errorf("%s before the upgrade: got %d in the table, want %d", code, got, status)
			}
		}
	}
}

// The handshake of the contract is the page's.
func TestHandshake(t *testing.T) {
	text, err := os.ReadFile("../internal/wire/testdata/handshake.txt")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(newLine(t).Handshake())
	for offer, want := range map[string]bool{string(text[:len(text)-1]): true, wire.Subprotocol: true, "waitroom.v2": false, "": false} {
		if got := pattern.MatchString(offer); got != want {
			t.Errorf("%q: got %t, want %t", offer, got, want)
		}
	}
}
