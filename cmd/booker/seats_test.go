package main

import (
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/testenv"
)

// Seats are made at a price: of one currency, once, and never changed by making more.
func TestSeatsCostSomething(t *testing.T) {
	test := func(t *testing.T, db string) {
		for _, c := range []struct {
			args string
			code int
			out  string
			err  []string // each within the errors
		}{
			{"--room gig --count 2 --new --amount 1250", 2, "", []string{"--amount 1250", "currency"}},
			{"--room gig --count 2 --new --currency EUR", 2, "", []string{"--currency", "without an amount"}},
			{"--room gig --count 2 --new --amount -5 --currency EUR", 2, "", []string{"--amount"}},
			{"--room gig --count 2 --new --amount 1000000000001 --currency EUR", 2, "", []string{"--amount", "1000000000000"}},
			{"--room gig --count 2 --new --amount 99999999999999999999 --currency EUR", 2, "", []string{"--amount"}},
			{"--room gig --count 2 --new --amount 1250 --currency euro", 2, "", []string{"--currency"}},
			{"--room gig --count 2 --new --amount 1250 --currency EUR", 0, "room gig: 2 of 2 seats added\n", nil},
			{"--room gig --count 2 --new --amount 1250 --currency EUR", 0, "room gig: 0 of 2 seats added\n", nil}, // a lost answer
			{"--room gig --count 3 --amount 1400 --currency EUR", 0, "room gig: 1 of 3 seats added\nroom gig: 2 of them exist with another amount, and keep it\n", nil},
			{"--room gig --section N --count 1 --amount 9 --currency USD", 1, "", []string{"one currency", "EUR"}},
			{"--room gig --section N --count 1", 0, "room gig: 1 of 1 seats added\n", nil},
		} {
			code, out, errs := booker(t.Context(), append([]string{"seats", "--db", db}, strings.Fields(c.args)...)...)
			if code != c.code || out != c.out {
				t.Errorf("seats %s: got %d %q %s, want %d %q", c.args, code, out, errs, c.code, c.out)
			}
			for _, want := range c.err {
				if !strings.Contains(errs, want) {
					t.Errorf("seats %s: got %q, want %q in it", c.args, errs, want)
				}
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "shop.db")) })
	t.Run("mysql", func(t *testing.T) { test(t, testenv.MySQL(t)) })
}
