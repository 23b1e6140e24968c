package psp

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// modelLapse is short beside the sleeps of a walk.
const modelLapse = 24 * time.Hour

// expected is a payment as the model has it, by rules of its own.
type expected struct {
	state, reason, currency    string
	amount, captured, refunded int64
	refunds                    []string
	due                        time.Time
	id                         string
}

// sent is a request that was done, and what was answered; "": the answer was lost.
type sent struct{ path, body, text string }

// model is a walk over a service with a journal.
type model struct {
	file     string
	s        *Service
	pays     map[string]*expected
	requests map[string]*sent // by operation and key
	ever     map[string]int64 // authorised, by currency
	released map[string]int64
	entries  int       // of acts that the model knows of
	asked    time.Time // when the last request came; its answer may have hung since
}

// TestLedgerModel walks at random: acts with repeats under few keys, answers that are lost
// or never come, faults, sleeps beyond the lapse, restarts from the journal with a torn
// line at its end. What is answered, and the books, are what the model says.
func TestLedgerModel(t *testing.T) {
	// Walks of 60 steps come to two refunds and a lapse; a hundred take a second or two, most
	// of it the disk's. More by -rapid.checks.
	for name, value := range map[string]string{"rapid.checks": "100", "rapid.steps": "60"} {
		f := flag.Lookup(name)
		old := f.Value.String()
		if old != f.DefValue {
			continue // the command line says it
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, old) }) // as it was
	}
	dir, walks := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		walks++
		m := &model{file: filepath.Join(dir, fmt.Sprint(walks)), pays: map[string]*expected{}, requests: map[string]*sent{},
			ever: map[string]int64{}, released: map[string]int64{}}
		// A bubble for each walk: rapid itself lives by the machine's time. What it throws in
		// there to end a walk is thrown again outside.
		var thrown any
		synctest.Test(t, func(*testing.T) {
			defer func() { thrown = recover() }()
			m.open(rt)
			defer func() { _ = m.s.Close() }()
			rt.Repeat(map[string]func(*rapid.T){
				"":          m.check,
				"authorise": m.authorise,
				"capture":   m.capture,
				"void":      m.void,
				"refund":    m.refund,
				"decide":    m.decide,
				"look":      m.look,
				"sleep": func(t *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 30).Draw(t, "hours")) * time.Hour) // the bubble's time
				},
				"crash": m.crash,
			})
		})
		switch {
		case thrown == nil:
		case fmt.Sprintf("%T", thrown) == "rapid.invalidData":
			panic(thrown) // no failure; rapid knows failures by the lines they come from
		default:
			panic(thrown)
		}
	})
}

func (m *model) open(t *rapid.T) {
	s, err := New(Config{Journal: m.file, Lapse: modelLapse})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.s = s
}

// crash ends the service as a kill does: what it answered is on disk, and perhaps a part
// of a line of which nobody was told.
func (m *model) crash(t *rapid.T) {
	_ = m.s.Close() // releases the lock; nothing waits to be written
	if rapid.Bool().Draw(t, "torn") {
		f, err := os.OpenFile(m.file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatalf("%v", err)
		}
		line := `{"n":1,"at_ms":1,"act":"capture","payment":"attempt-0","amount":100}`
		_, _ = f.WriteString(line[:rapid.IntRange(1, len(line)).Draw(t, "bytes")]) // a local file
		f.Close()
	}
	m.open(t)
}

// lapse ends what nobody captured in time.
func (m *model) lapse() {
	for _, p := range m.pays {
		if (p.state == "authorised" || p.state == "pending") && !time.Now().Before(p.due) {
			if p.state == "authorised" {
				m.released[p.currency] += p.amount
			}
			p.state, p.reason = "voided", "lapsed"
			m.entries++
		}
	}
}

// key is one of few attempts, so that walks come to their ends.
func key(t *rapid.T) string {
	return fmt.Sprintf("attempt-%d", rapid.IntRange(0, 2).Draw(t, "attempt"))
}

// by is the idempotency key of an act on an attempt: its own, as our client has it, or
// another, of a shop that forgot.
func (m *model) by(t *rapid.T, attempt string) string {
	return attempt + rapid.SampledFrom([]string{"", "", "-again"}).Draw(t, "by")
}

func currency(t *rapid.T) string {
	return rapid.SampledFrom([]string{"EUR", "EUR", "EUR", "USD"}).Draw(t, "currency")
}

// post makes a request that meets a fate, and compares its answer. decide says what should
// come of one that was never made: a code, or an act.
func (m *model) post(t *rapid.T, operation, path, key, body string, silent bool, decide func() (code string, act func())) {
	m.lapse()
	fates := []string{"", "", "", "", "timeouts", "cuts", "errors", "html"}
	fate := rapid.SampledFrom(fates).Draw(t, "fate")
	if fate != "" {
		ask(m.s, "POST", "/faults", "", `{"`+fate+`":1}`)
		defer ask(m.s, "POST", "/faults", "", `{"`+fate+`":0}`)
	}
	m.asked = time.Now()
	got := ask(m.s, "POST", path, key, body)
	what := fmt.Sprintf("%s %s %s, fate %q", path, key, body, fate)
	known := m.requests[operation+" "+key]
	switch {
	case fate == "errors":
		wantReply(t, what, got, 500, "internal")
	case fate == "html":
		if got.status != 200 || !strings.HasPrefix(got.kind, "text/html") {
			t.Fatalf("%s: got %+v, want HTML", what, got)
		}
	case known != nil && (known.path != path || known.body != body):
		wantReply(t, what, got, 422, "key_reused")
	case known != nil:
		if got.status != 200 || known.text != "" && got.text != known.text {
			t.Fatalf("%s: a repeat: got %d %s\nwant %s", what, got.status, got.text, known.text)
		}
		known.text = got.text
		m.learn(got)
	default:
		code, act := decide()
		if code != "" {
			statuses := map[string]int{"no_such_payment": 404, "wrong_state": 409, "too_much": 422, "currency_differs": 422}
			wantReply(t, what, got, statuses[code], code)
			return
		}
		act()
		m.entries++
		m.requests[operation+" "+key] = &sent{path, body, got.text}
		if lost := fate != "" || silent; lost != (got.status == 0) {
			t.Fatalf("%s: got %+v, lost %v", what, got, lost)
		}
		if got.status != 0 {
			m.compare(t, what, got)
			m.learn(got)
		}
	}
}

func wantReply(t *rapid.T, what string, got reply, status int, code string) {
	if got.status != status || got.Code != code {
		t.Fatalf("%s: got %d %s, want %d %s", what, got.status, got.text, status, code)
	}
}

// learn keeps an id that the service chose: it stays.
func (m *model) learn(got reply) {
	if p := m.pays[got.Key]; p != nil && p.id == "" {
		p.id = got.ID
	}
}

// compare holds an answer to the model as it is now.
func (m *model) compare(t *rapid.T, what string, got reply) {
	p := m.pays[got.Key]
	if p == nil {
		t.Fatalf("%s: got %s, want none", what, got.text)
	}
	var refunds []string
	for _, r := range got.Refunds {
		refunds = append(refunds, fmt.Sprintf("%s %d", r.Key, r.Amount))
	}
	have := fmt.Sprint(got.State, got.Reason, got.Currency, got.Amount, got.Captured, got.Refunded, refunds, got.Redirect != "")
	want := fmt.Sprint(p.state, p.reason, p.currency, p.amount, p.captured, p.refunded, p.refunds, p.state == "pending")
	if have != want || p.id != "" && got.ID != p.id || got.status != 200 {
		t.Fatalf("%s: got %s of %s\nwant %s of %s", what, have, got.ID, want, p.id)
	}
}

func (m *model) authorise(t *rapid.T) {
	k, c := key(t), currency(t)
	amount := rapid.SampledFrom([]int64{4500, 4500, 1, 50_000_000_000_000}).Draw(t, "amount")
	card := rapid.SampledFrom([]string{"card_ok", "card_ok", "card_ok", "card_redirect", "card_declined", "card_insufficient", "card_timeout", "card_unheard"}).Draw(t, "card")
	body := fmt.Sprintf(`{"amount":%d,"currency":%q,"method":%q}`, amount, c, card)
	m.post(t, "authorise", "/payments", k, body, card == "card_timeout", func() (string, func()) {
		return "", func() {
			p := &expected{state: "authorised", currency: c, amount: amount, due: m.asked.Add(modelLapse)}
			switch card {
			case "card_redirect":
				p.state = "pending"
			case "card_declined":
				p.state, p.reason = "declined", "card_declined"
			case "card_insufficient":
				p.state, p.reason = "declined", "insufficient_funds"
			case "card_unheard":
				p.state, p.reason = "declined", "card_unknown"
			default:
				m.ever[c] += amount
			}
			m.pays[k] = p
		}
	})
}

func (m *model) capture(t *rapid.T) {
	k, c := key(t), currency(t)
	part := rapid.SampledFrom([]string{"whole", "whole", "one", "more"}).Draw(t, "part")
	p := m.pays[k]
	amount := int64(4500)
	if p != nil {
		amount = map[string]int64{"whole": p.amount, "one": 1, "more": p.amount + 1}[part]
	}
	m.post(t, "capture", "/payments/by-key/"+k+"/capture", m.by(t, k), fmt.Sprintf(`{"amount":%d,"currency":%q}`, amount, c), false, func() (string, func()) {
		switch {
		case p == nil:
			return "no_such_payment", nil
		case p.state != "authorised":
			return "wrong_state", nil
		case p.currency != c:
			return "currency_differs", nil
		case amount > p.amount:
			return "too_much", nil
		}
		return "", func() {
			p.state, p.captured = "captured", amount
			m.released[c] += p.amount - amount
		}
	})
}

func (m *model) void(t *rapid.T) {
	k := key(t)
	p := m.pays[k]
	m.post(t, "void", "/payments/by-key/"+k+"/void", m.by(t, k), "", false, func() (string, func()) {
		switch {
		case p == nil:
			return "no_such_payment", nil
		case p.state != "authorised" && p.state != "pending":
			return "wrong_state", nil
		}
		return "", func() {
			if p.state == "authorised" {
				m.released[p.currency] += p.amount
			}
			p.state = "voided"
		}
	})
}

func (m *model) refund(t *rapid.T) {
	k, c := key(t), currency(t)
	// Most of the time of one that can be: else few walks come to a second refund.
	for _, other := range slices.Sorted(maps.Keys(m.pays)) {
		if p := m.pays[other]; p.state == "captured" && rapid.IntRange(0, 9).Draw(t, "this") > 0 {
			k, c = other, p.currency
			break
		}
	}
	refund := fmt.Sprintf("refund-%d", rapid.IntRange(0, 9).Draw(t, "refund"))
	p := m.pays[k]
	rest := int64(4500)
	if p != nil && p.captured > p.refunded {
		rest = p.captured - p.refunded
	}
	amount := rapid.SampledFrom([]int64{1, 2000, rest, rest + 1}).Draw(t, "amount")
	m.post(t, "refund", "/payments/by-key/"+k+"/refund", refund, fmt.Sprintf(`{"amount":%d,"currency":%q}`, amount, c), false, func() (string, func()) {
		switch {
		case p == nil:
			return "no_such_payment", nil
		case p.state != "captured":
			return "wrong_state", nil
		case p.currency != c:
			return "currency_differs", nil
		case amount > p.captured-p.refunded:
			return "too_much", nil
		}
		return "", func() {
			p.refunded += amount
			p.refunds = append(p.refunds, fmt.Sprintf("%s %d", refund, amount))
			if p.refunded == p.captured {
				p.state = "refunded"
			}
		}
	})
}

// decide presses a button of a page.
func (m *model) decide(t *rapid.T) {
	m.lapse()
	p := m.pays[key(t)]
	if p == nil || p.id == "" {
		t.Skip("no page that anybody knows")
	}
	answer := rapid.SampledFrom([]string{"approve", "refuse"}).Draw(t, "answer")
	r := form("/pay/"+p.id, "answer="+answer)
	if got := serve(m.s, r); got.status != 200 {
		t.Fatalf("%s: got %+v", answer, got)
	}
	if p.state != "pending" {
		return // decided, voided or lapsed before, and stays so
	}
	m.entries++
	if answer == "approve" {
		p.state, p.due = "authorised", time.Now().Add(modelLapse)
		m.ever[p.currency] += p.amount
	} else {
		p.state, p.reason = "declined", "refused_by_payer"
	}
}

func (m *model) look(t *rapid.T) {
	m.lapse()
	k := key(t)
	got := ask(m.s, "GET", "/payments/by-key/"+k, "", "")
	if m.pays[k] == nil {
		wantReply(t, "look", got, 404, "no_such_payment")
		return
	}
	m.compare(t, "look", got)
	m.learn(got)
}

// check holds the books to the model, and to themselves.
func (m *model) check(t *rapid.T) {
	m.lapse()
	b := books(t, m.s)
	want := map[string]Sums{}
	for _, p := range m.pays {
		s := want[p.currency]
		s.Payments++
		if p.state == "authorised" {
			s.Held += p.amount
		}
		s.Captured += p.captured
		s.Refunded += p.refunded
		s.Authorised, s.Released = m.ever[p.currency], m.released[p.currency]
		s.Net = s.Captured - s.Refunded
		want[p.currency] = s
	}
	if !maps.Equal(b.Sums, want) {
		t.Fatalf("sums: got %+v\nwant %+v", b.Sums, want)
	}
	for c, s := range b.Sums {
		if s.Authorised != s.Held+s.Captured+s.Released || s.Refunded > s.Captured || s.Held < 0 || s.Released < 0 {
			t.Fatalf("%s does not balance: %+v", c, s)
		}
	}
	if len(b.Entries) != m.entries || len(b.Payments) != len(m.pays) {
		t.Fatalf("got %d entries and %d payments, want %d and %d", len(b.Entries), len(b.Payments), m.entries, len(m.pays))
	}
	balance(t, b)
	if on, err := os.ReadFile(m.file); err != nil || strings.Count(string(on), "\n") != m.entries {
		t.Fatalf("the journal: %v, %d lines, want %d", err, strings.Count(string(on), "\n"), m.entries)
	}
}

// balance adds up the entries alone, as an accountant would who knows no rule but these:
// captured at most once and never more than was authorised, refunded never more than was
// captured, and no key twice for an operation.
func balance(t interface{ Fatalf(string, ...any) }, b Books) {
	type account struct{ authorised, captured, refunded, captures int64 }
	accounts, keys := map[string]*account{}, map[string]bool{}
	sums := map[string]Sums{}
	currencies := map[string]string{}
	for _, e := range b.Entries {
		a := accounts[e.Payment]
		if a == nil {
			a = &account{}
			accounts[e.Payment] = a
			currencies[e.Payment] = e.Currency
			keys["amount "+e.Payment+fmt.Sprint(e.Amount)] = true
		}
		switch e.Act {
		case "authorise":
			a.authorised = e.Amount
		case "approve":
			i := slices.IndexFunc(b.Entries, func(first Entry) bool { return first.Payment == e.Payment })
			a.authorised = b.Entries[i].Amount
		case "capture":
			a.captured += e.Amount
			a.captures++
		case "refund":
			a.refunded += e.Amount
		}
		if e.Key != "" {
			if name := e.Act.operation() + " " + e.Key; keys[name] {
				t.Fatalf("%s was done twice", name)
			} else {
				keys[name] = true
			}
		}
		if a.captures > 1 || a.captured > a.authorised || a.refunded > a.captured {
			t.Fatalf("entry %d: %+v of %s", e.N, a, e.Payment)
		}
	}
	for k, a := range accounts {
		s := sums[currencies[k]]
		s.Captured += a.captured
		s.Refunded += a.refunded
		sums[currencies[k]] = s
	}
	for c, s := range b.Sums {
		if s.Captured != sums[c].Captured || s.Refunded != sums[c].Refunded {
			text, _ := json.Marshal(b) // of numbers and strings
			t.Fatalf("the sums of %s are %+v, its entries say %+v: %.3000s", c, s, sums[c], text)
		}
	}
}
