package main

import (
	"path/filepath"
	"testing"
)

// Each rule can still be taken out of the store: who writes one anew learns here that
// its broken variant has to follow.
func TestEachRuleCanBeTakenAway(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range brokens {
		if seen[b.rule] || len(b.without) == 0 {
			t.Errorf("rule %q: got it twice or with nothing to take away", b.rule)
		}
		seen[b.rule] = true
		if _, err := b.sources(filepath.FromSlash("../../internal/booking")); err != nil {
			t.Error(err)
		}
	}
}
