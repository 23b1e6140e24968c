package psp

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"waitroom/internal/payment"
)

const (
	// maxPayments bounds the ledger: 130 MB, and sums that fit an int64 when every payment
	// is of payment.MaxAmount. The next one is refused as full.
	maxPayments = 100_000
	// maxRefunds bounds an answer, which names each refund of a payment.
	maxRefunds = 100
)

// Entry is one act, as the journal has it. The ledger is what its entries say, one after
// the other, and nothing else.
type Entry struct {
	N        int64  `json:"n"` // from 1, without a gap
	At       int64  `json:"at_ms"`
	Act      act    `json:"act"`
	Payment  string `json:"payment"`      // its key
	ID       string `json:"id,omitempty"` // of a payment that it makes
	Amount   int64  `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Card     string `json:"card,omitempty"` // one of Cards; another is not written down
	Key      string `json:"key,omitempty"`  // of the request
	Hash     string `json:"hash,omitempty"` // of the request, to know its repeats
}

// Sums are what a currency's payments come to. Authorised = Held + Captured + Released at
// all times, and Net = Captured − Refunded is what the shop has.
type Sums struct {
	Payments   int64 `json:"payments"`
	Authorised int64 `json:"authorised"` // ever
	Held       int64 `json:"held"`       // reserved now
	Captured   int64 `json:"captured"`   // ever
	Released   int64 `json:"released"`   // voided, lapsed, or not captured of what was reserved
	Refunded   int64 `json:"refunded"`
	Net        int64 `json:"net"`
}

// record is a payment and what the wire does not show of it.
type record struct {
	payment.Payment
	card string
	due  int64 // when it lapses, in ms
}

// asked names a request: an operation and its idempotency key.
type asked struct{ operation, key string }

// answered is what a request came to.
type answered struct {
	hash   string
	answer payment.Payment
}

// opened is a payment that lapses at a time, unless something else comes of it.
type opened struct {
	key string
	due int64 // in ms
}

// change is a payment after an act, for those who are told.
type change struct {
	n, at int64
	card  string
	payment.Payment
}

// Ledger is the money. Every act is decided under mu and told after the journal has it.
type Ledger struct {
	// Set once.
	lapse   time.Duration
	journal *journal // nil: in memory alone
	notify  func(change)

	mu       sync.Mutex
	payments map[string]*record
	ids      map[string]string // a payment's key by its id
	requests map[asked]answered
	entries  []Entry  // only appended to, so that a reader may keep a prefix
	open     []opened // what may lapse, in order of due; what no longer can is passed over
	sums     map[string]*Sums
	untold   []change
}

// openLedger reads a journal, or starts an empty one. With name "" there is none. notify
// is called for each change after it is on disk, from the goroutine that made it.
func openLedger(name string, lapse time.Duration, notify func(change)) (*Ledger, error) {
	l := &Ledger{lapse: lapse, notify: notify, payments: map[string]*record{}, ids: map[string]string{},
		requests: map[asked]answered{}, sums: map[string]*Sums{}}
	if name == "" {
		return l, nil
	}
	var err error
	l.journal, err = openJournal(name, func(e Entry) error {
		if e.N != int64(len(l.entries))+1 {
			return fmt.Errorf("entry %d, want %d", e.N, len(l.entries)+1)
		}
		if _, err := l.apply(e); err != nil {
			return fmt.Errorf("entry %d: %s of a payment: %w", e.N, e.Act, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.untold = nil // those were told before, or are looked up by who was not
	return l, nil
}

// do makes an act, or finds that it was made: then the answer is the one of that time. It
// returns when the answer is on disk.
func (l *Ledger) do(e Entry) (answer payment.Payment, repeated bool, err error) {
	l.mu.Lock()
	now := time.Now()
	l.lapsed(now)
	if known, is := l.requests[asked{e.Act.operation(), e.Key}]; is {
		answer, repeated = known.answer, true
		if known.hash != e.Hash {
			err = errReused
		}
	} else {
		answer, err = l.add(e, now)
	}
	l.mu.Unlock()
	if failed := l.settle(); failed != nil {
		return payment.Payment{}, false, failed
	}
	return answer, repeated, err
}

// find returns a payment as it is.
func (l *Ledger) find(key string) (answer payment.Payment, err error) {
	l.mu.Lock()
	l.lapsed(time.Now())
	if r := l.payments[key]; r != nil {
		answer = r.Payment
	} else {
		err = errAbsent
	}
	l.mu.Unlock()
	if failed := l.settle(); failed != nil {
		return payment.Payment{}, failed
	}
	return answer, err
}

// keyOf finds a payment's key by its id.
func (l *Ledger) keyOf(id string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, ok := l.ids[id]
	return key, ok
}

// sweep lets lapse what is due.
func (l *Ledger) sweep() error {
	l.mu.Lock()
	l.lapsed(time.Now())
	l.mu.Unlock()
	return l.settle()
}

// lapsed ends what nobody captured in time; mu is held.
func (l *Ledger) lapsed(now time.Time) {
	for len(l.open) > 0 && l.open[0].due <= now.UnixMilli() {
		first := l.open[0]
		l.open = l.open[1:]
		r := l.payments[first.key]
		// One that was approved since has a later due, further behind.
		if _, can := moves[move{r.State, lapse}]; can && r.due == first.due {
			// It is in the table of moves, so it can't fail.
			_, _ = l.add(Entry{Act: lapse, Payment: r.Key, Reason: payment.ReasonLapsed}, now)
		}
	}
}

// add writes an act down; mu is held.
func (l *Ledger) add(e Entry, now time.Time) (payment.Payment, error) {
	e.N, e.At = int64(len(l.entries))+1, now.UnixMilli()
	answer, err := l.apply(e)
	if err == nil && l.journal != nil {
		l.journal.append(e)
	}
	return answer, err
}

// apply is the rule: what an entry changes, or why it can't be. An entry of the journal
// goes the same way; mu is held, or nobody else is there yet.
func (l *Ledger) apply(e Entry) (payment.Payment, error) {
	r := l.payments[e.Payment]
	state := payment.Outcome("")
	if r != nil {
		state = r.State
	}
	to, can := moves[move{state, e.Act}]
	switch makes := e.Act.operation() == "authorise"; {
	case r == nil && !makes:
		return payment.Payment{}, errAbsent
	case !can:
		return payment.Payment{}, errState
	case r == nil && len(l.payments) >= maxPayments:
		return payment.Payment{}, errFull
	case r == nil:
		if e.Amount < 1 || e.Amount > payment.MaxAmount {
			return payment.Payment{}, errTooMuch
		}
		r = &record{Payment: payment.Payment{Key: e.Payment, ID: e.ID, Amount: e.Amount, Currency: e.Currency}, card: e.Card}
	case e.Currency != "" && e.Currency != r.Currency:
		return payment.Payment{}, errCurrency
	}
	if e.Act == refund && len(r.Refunds) >= maxRefunds {
		return payment.Payment{}, errTooMany
	}
	s := l.sums[r.Currency]
	if s == nil {
		s = &Sums{}
		l.sums[r.Currency] = s
	}
	switch e.Act {
	case authorise, approve:
		s.Authorised += r.Amount
		s.Held += r.Amount
	case capture:
		if e.Amount < 1 || e.Amount > r.Amount {
			return payment.Payment{}, errTooMuch
		}
		r.Captured = e.Amount
		s.Held -= r.Amount
		s.Captured += e.Amount
		s.Released += r.Amount - e.Amount
	case void, lapse:
		if state == payment.Authorised {
			s.Held -= r.Amount
			s.Released += r.Amount
		}
	case refund:
		if e.Amount < 1 || e.Amount > r.Captured-r.Refunded {
			return payment.Payment{}, errTooMuch
		}
		r.Refunded += e.Amount
		s.Refunded += e.Amount
		// Answers of before may share the list: they keep their length.
		r.Refunds = append(r.Refunds, payment.Refund{Key: e.Key, Amount: e.Amount})
		if r.Refunded == r.Captured {
			to = payment.Refunded
		}
	}
	s.Net = s.Captured - s.Refunded
	if state == "" {
		s.Payments++
		l.payments[r.Key], l.ids[r.ID] = r, r.Key
	}
	r.State, r.Reason = to, e.Reason
	if _, can := moves[move{to, lapse}]; can {
		r.due = e.At + l.lapse.Milliseconds()
		l.open = append(l.open, opened{r.Key, r.due})
	}
	l.entries = append(l.entries, e)
	if e.Key != "" {
		l.requests[asked{e.Act.operation(), e.Key}] = answered{e.Hash, r.Payment}
	}
	l.untold = append(l.untold, change{e.N, e.At, r.card, r.Payment})
	return r.Payment, nil
}

// settle returns when all that was decided so far is on disk, and tells of it.
func (l *Ledger) settle() error {
	l.mu.Lock()
	last, untold := int64(len(l.entries)), l.untold
	l.untold = nil
	l.mu.Unlock()
	if l.journal != nil {
		if err := l.journal.commit(last); err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	for _, c := range untold {
		l.notify(c)
	}
	return nil
}

// totals are the sums of each currency.
func (l *Ledger) totals() map[string]Sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]Sums{}
	for currency, s := range l.sums {
		all[currency] = *s
	}
	return all
}

// books are everything, in the order in which it was written down.
func (l *Ledger) books() (sums map[string]Sums, payments []payment.Payment, entries []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sums = map[string]Sums{}
	for currency, s := range l.sums {
		sums[currency] = *s
	}
	for _, r := range l.payments {
		payments = append(payments, r.Payment)
	}
	slices.SortFunc(payments, func(a, b payment.Payment) int { return strings.Compare(a.Key, b.Key) })
	return sums, payments, slices.Clip(l.entries)
}

// close closes the journal.
func (l *Ledger) close() error {
	if l.journal == nil {
		return nil
	}
	return l.journal.close()
}

// newID is a name that nobody guesses: the page of a redirect is found by it.
func newID() string { return "pay_" + rand.Text() }
