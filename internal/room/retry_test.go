package room

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// sentinelsHere are the names of the package's Err… variables, out of its source.
func sentinelsHere(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// What an error of a call says about trying it again. Every sentinel has a row.
func TestRetryable(t *testing.T) {
	const (
		answer = "answer" // or nobody waits: the same call again is no use
		silent = "retryable"
		fault  = "fault"
	)
	rows := []struct {
		name string
		err  error
		want string
	}{
		{"ErrUnknown", ErrUnknown, answer},
		{"ErrDeleted", ErrDeleted, answer},
		{"ErrExists", ErrExists, answer},
		{"ErrEpoch", ErrEpoch, answer},
		{"ErrRecovering", ErrRecovering, answer},
		{"ErrState", ErrState, answer},
		{"ErrClosed", ErrClosed, answer},
		{"ErrSoldOut", ErrSoldOut, answer},
		{"ErrFull", ErrFull, answer},
		{"ErrSpent", ErrSpent, answer},
		{"ErrActive", ErrActive, answer},
		{"ErrBusy", ErrBusy, answer},
		{"ErrStaleBatch", ErrStaleBatch, answer},
		{"ErrMemory", ErrMemory, answer},
		{"ErrUnsure", ErrUnsure, answer},
		{"ErrAway", ErrAway, silent},
		{"ErrOverloaded", ErrOverloaded, answer},
		{"ErrTooMany", ErrTooMany, answer},
		{"ErrTooManySigns", ErrTooManySigns, answer},
		{"ErrChanged", ErrChanged, answer},
		{"ErrName", ErrName, answer},
		{"ErrVisitorID", ErrVisitorID, answer},
		{"ErrEpochForm", ErrEpochForm, answer},
		{"ErrAdmission", ErrAdmission, answer},

		{"nil", nil, answer},
		{"a deadline", context.DeadlineExceeded, silent},
		{"cancelled", context.Canceled, answer},
		{"cancelled while away", fmt.Errorf("%w: %w", ErrAway, context.Canceled), answer},
		{"away because of a deadline", fmt.Errorf("%w: %w", ErrAway, context.DeadlineExceeded), silent},
		{"wrong type", errors.New("WRONGTYPE Operation against a key"), fault},
	}
	var named []string
	for _, c := range rows {
		named = append(named, c.name)
		for _, err := range []error{c.err, fmt.Errorf("claim: %w", c.err)} {
			if c.err == nil {
				err = nil
			}
			got := answer
			switch {
			case Retryable(err) && Fault(err):
				got = "both"
			case Retryable(err):
				got = silent
			case Fault(err):
				got = fault
			}
			if got != c.want {
				t.Errorf("%s (%v): got %s, want %s", c.name, err, got, c.want)
			}
		}
	}
	for _, name := range sentinelsHere(t) {
		if !slices.Contains(named, name) {
			t.Errorf("%s has no row: say whether trying again helps", name)
		}
	}
}
