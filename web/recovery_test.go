package web

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The sentences that docs/recovery.md quotes are the page's.
func TestRecoveryQuotesThePage(t *testing.T) {
	doc, err := os.ReadFile("../docs/recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	langs, _ := languages()
	var all strings.Builder
	for _, text := range langs[0].texts {
		all.WriteString(text + "\n")
	}
	quotes := regexp.MustCompile(`[ (]\*([A-Z][^*]+)\*`).FindAllStringSubmatch(string(doc), -1)
	if len(quotes) < 5 {
		t.Fatalf("got %d quotes, want those of the page", len(quotes))
	}
	for _, quote := range quotes {
		if !strings.Contains(all.String(), quote[1]) {
			t.Errorf("got %q quoted, want a sentence of %s.json", quote[1], langs[0].Code)
		}
	}
}
