package psp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written is a journal of two payments, one of them captured.
func written(t *testing.T) (file, text string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "journal")
	s := service(t, Config{Journal: file})
	ask(s, "POST", "/payments", "attempt-1", by(cardOK))
	ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500"))
	ask(s, "POST", "/payments", "attempt-2", by("4242424242424242"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, string(all)
}

// What was answered is there after a start, and a number that is no test card's is not.
func TestJournalIsReadAgain(t *testing.T) {
	file, text := written(t)
	if strings.Contains(text, "4242") || strings.Count(text, "\n") != 3 {
		t.Errorf("the journal: %s", text)
	}
	s := service(t, Config{Journal: file, CallbackURL: "http://shop.example/callback"})
	b := books(t, s)
	balance(t, b)
	if b.Sums["EUR"].Captured != 4500 || len(b.Payments) != 2 || b.Callbacks != (Callbacks{}) {
		t.Errorf("got %+v", b)
	}
	if got := ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500")); got.status != 200 || got.Captured != 4500 {
		t.Errorf("a repeat: got %+v", got)
	}
	if got := ask(s, "POST", "/payments", "attempt-1", by(cardSlow)); got.status != 422 {
		t.Errorf("another body: got %+v", got)
	}
	if _, err := New(Config{Journal: file}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one on the file: got %v", err)
	}
}

// A kill may leave any part of the last line: it is cut off, whatever part it is.
func TestTornJournal(t *testing.T) {
	file, text := written(t)
	whole := strings.LastIndex(text[:len(text)-1], "\n") + 1
	for end := whole; end < len(text); end++ {
		if err := os.WriteFile(file, []byte(text[:end]), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Journal: file})
		if err != nil {
			t.Fatalf("%d bytes: %v", end, err)
		}
		if b := books(t, s); len(b.Entries) != 2 || b.Sums["EUR"].Captured != 4500 {
			t.Errorf("%d bytes: got %+v", end, b)
		}
		if got := ask(s, "POST", "/payments", "attempt-3", by(cardOK)); got.status != 200 {
			t.Errorf("%d bytes: the next: got %+v", end, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if all, _ := os.ReadFile(file); !strings.HasPrefix(string(all), text[:whole]+`{"n":3,`) {
			t.Errorf("%d bytes: the journal: %s", end, all)
		}
	}
}

// A journal that was changed by hand is not read: the line is named, and nothing changed.
func TestBrokenJournal(t *testing.T) {
	file, text := written(t)
	for what, c := range map[string]struct{ from, to, want string }{
		"no JSON":             {`{"n":2`, `"n":2`, "line 2"},
		"an entry twice":      {`{"n":2`, `{"n":1`, "line 2"},
		"an entry is missing": {`{"n":2`, `{"n":3`, "line 2"},
		"more captured":       {`"act":"capture","payment":"attempt-1","amount":4500`, `"act":"capture","payment":"attempt-1","amount":4501`, "too_much"},
		"a refund before":     {`"act":"capture"`, `"act":"refund"`, "wrong_state"},
		"of nobody":           {`"act":"capture","payment":"attempt-1"`, `"act":"capture","payment":"attempt-9"`, "no_such_payment"},
		"an act of nobody's":  {`"act":"capture"`, `"act":"take"`, "wrong_state"},
		"a long line":         {`{"n":2`, `{` + strings.Repeat(" ", maxLine) + `"n":2`, "line 2"},
	} {
		broken := strings.Replace(text, c.from, c.to, 1)
		if broken == text {
			t.Fatalf("%s: nothing is changed in %s", what, text)
		}
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Journal: file}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", what, err, c.want)
		}
		if all, _ := os.ReadFile(file); string(all) != broken {
			t.Errorf("%s: the file is changed", what)
		}
	}
}

// A disk that takes no more: nobody is told of what is not on it, not by a look either.
func TestJournalThatCannotBeWritten(t *testing.T) {
	s := service(t, Config{Journal: filepath.Join(t.TempDir(), "journal")})
	ask(s, "POST", "/payments", "attempt-1", by(cardOK))
	s.ledger.journal.file.Close() // every write fails from now on
	if got := ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500")); got.status != 500 {
		t.Errorf("a capture: got %+v, want 500", got)
	}
	for _, path := range []string{"/payments/by-key/attempt-1", "/ledger"} {
		if got := ask(s, "GET", path, "", ""); got.status != 500 || strings.Contains(got.text, "captured") {
			t.Errorf("%s: got %+v, want 500", path, got)
		}
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run goes on")
	}
}
