package booking

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// Bounds of the keys under which visitors ask.
const (
	keyLength = 64 // a UUID has 36
	// keysMost is how many keys one pass may use; the next one is seat.ErrKeys. A visit that
	// holds, gives back and tries again needs some ten, and each is a row for keysKept.
	keysMost = 64
	// keysKept is for how long a key is remembered at least.
	keysKept = 24 * time.Hour
)

// Key names one thing that a visitor asks for, however often the request comes: the same
// answer follows, and it is done once. A key is known within its pass. The zero Key names
// nothing.
type Key struct {
	word    string
	request string // fingerprint of what was asked for
	late    bool
}

// Late is the key of a request whose pass has ended: it is answered what it came to
// before, and begins nothing: token.ErrExpired.
func (k Key) Late() Key {
	k.late = true
	return k
}

// ParseKey reads the value of an Idempotency-Key header, with quotes or without, of a
// request that is known by its parts. seat.ErrKey: it is longer than 64 characters, or has
// others than letters, digits and -_.:~
func ParseKey(header string, request ...string) (Key, error) {
	word := header
	if n := len(word); n >= 2 && word[0] == '"' && word[n-1] == '"' {
		word = word[1 : n-1]
	}
	if word == "" || len(word) > keyLength || strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:~", r)
	}) {
		return Key{}, seat.ErrKey
	}
	all := sha256.New()
	for _, part := range request {
		fmt.Fprintf(all, "%d:%s,", len(part), part) // so that no two lists of parts are one text
	}
	return Key{word: word, request: base64.RawURLEncoding.EncodeToString(all.Sum(nil))}, nil
}

// Acts are what a visitor does with seats.
type Acts interface {
	Hold(ctx context.Context, pass token.Pass, seats []seat.ID) (h seat.Hold, fresh bool, err error)
	Confirm(ctx context.Context, pass token.Pass, id seat.HoldID) (Booking, error)
	Extend(ctx context.Context, pass token.Pass, id seat.HoldID) (seat.Hold, error)
	Release(ctx context.Context, pass token.Pass, id seat.HoldID) error
}

// Once is the booker for a request with a key: what it comes to is written in the
// transaction that decides it, and is the answer to each repeat, whichever booker hears
// it; times in it are those of now. Beside the acts' own errors: seat.ErrKeyReused,
// ErrKeyBusy, ErrKeys. Only this booker knows what it has in hand; a request that another
// one serves at the same time waits for it in the database and hears what it came to.
func (b *Booker) Once(key Key) Acts { return once{b, key} }

type once struct {
	*Booker
	key Key
}

// Hold is Store.Hold on the seats' clock.
func (o once) Hold(ctx context.Context, pass token.Pass, seats []seat.ID) (h seat.Hold, fresh bool, err error) {
	done, err := o.keys.begin(pass, o.key)
	if err != nil {
		return seat.Hold{}, false, err
	}
	defer done()
	now, err := o.clock.time()
	if err != nil {
		return seat.Hold{}, false, err
	}
	return o.store.holdSeats(ctx, pass, o.key, seats, now)
}

// Extend is Store.Extend on the seats' clock.
func (o once) Extend(ctx context.Context, pass token.Pass, id seat.HoldID) (seat.Hold, error) {
	done, err := o.keys.begin(pass, o.key)
	if err != nil {
		return seat.Hold{}, err
	}
	defer done()
	now, err := o.clock.time()
	if err != nil {
		return seat.Hold{}, err
	}
	return o.store.extend(ctx, pass, o.key, id, now)
}

// Release is Store.Release on the seats' clock.
func (o once) Release(ctx context.Context, pass token.Pass, id seat.HoldID) error {
	done, err := o.keys.begin(pass, o.key)
	if err != nil {
		return err
	}
	defer done()
	return o.store.release(ctx, pass, o.key, id, o.clock.at())
}

// Confirm buys the seats of a hold; see Booker.Confirm. A payment that was declined comes
// to nothing: the same key may try again.
func (o once) Confirm(ctx context.Context, pass token.Pass, id seat.HoldID) (Booking, error) {
	done, err := o.keys.begin(pass, o.key)
	if err != nil {
		return Booking{}, err
	}
	defer done()
	if o.key.word != "" {
		// Before money is asked for.
		used, err := o.store.keyOf(ctx, pass.Admission.String(), o.key)
		if err == nil {
			_, err = used.find(o.key)
		}
		if err != nil {
			return Booking{}, err
		}
	}
	return o.confirm(ctx, pass, o.key, id)
}

// inHand are the keys whose request is being served here. Elsewhere the lock of the
// pass's row keeps two of them apart, and the second one hears what the first came to.
type inHand struct {
	mu   sync.Mutex
	keys map[string]bool // pass and word; as many as there are requests in service
}

// begin takes a key in hand until done is called.
func (k *inHand) begin(pass token.Pass, key Key) (done func(), err error) {
	if key.word == "" {
		return func() {}, nil
	}
	name := pass.Admission.String() + " " + key.word
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[name] {
		return nil, seat.ErrKeyBusy
	}
	k.keys[name] = true
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.keys, name)
	}, nil
}

// keyRow is what was asked for under a key, and what it came to.
type keyRow struct {
	Admission string      `db:"admission"`
	Word      string      `db:"word"`
	Request   string      `db:"request"`
	CameTo    string      `db:"came_to"`
	Hold      seat.HoldID `db:"hold"`
}

const keyColumns = "admission, word, request, came_to, hold"

// What an act came to that was not refused.
const (
	done  = "done"
	there = "there" // the hold that was asked for was there already
)

// refusals are the words under which a refusal is kept. What is not among them was not
// decided, or may be had later: a repeat is a new try, as the answer says.
var refusals = []struct {
	word string
	err  error
}{
	{"unknown", seat.ErrUnknown}, {"no_hold", seat.ErrNoHold}, {"ended", seat.ErrHoldEnded}, {"ended", errLost},
	{"open", seat.ErrHoldOpen}, {"extended", seat.ErrExtended}, {"spent", seat.ErrPassSpent}, {"old", seat.ErrEpoch},
}

// refusal is the error that a row was kept for.
func (k keyRow) refusal() error {
	if k.CameTo == done || k.CameTo == there {
		return nil
	}
	for _, r := range refusals {
		if r.word == k.CameTo {
			return r.err
		}
	}
	return broken("key of pass %s came to %q", k.Admission, k.CameTo)
}

// usedKeys are those keys of a pass that are asked for now, and how many it has used.
type usedKeys struct {
	rows  []keyRow
	count int
}

// find is what a key was used for; nil: it is new. The error is what the request was
// refused with, or seat.ErrKeyReused, or seat.ErrKeys.
func (u usedKeys) find(key Key) (*keyRow, error) {
	for i, k := range u.rows {
		switch {
		case k.Word != key.word:
		case k.Request != key.request:
			return nil, seat.ErrKeyReused
		default:
			return &u.rows[i], k.refusal()
		}
	}
	switch {
	case key.late:
		return nil, token.ErrExpired
	case u.count >= keysMost:
		return nil, seat.ErrKeys
	}
	return nil, nil
}

// keyOf looks a key up outside of a transaction.
func (s *Store) keyOf(ctx context.Context, admission string, key Key) (u usedKeys, err error) {
	err = s.db.SelectContext(ctx, &u.rows, "SELECT "+keyColumns+" FROM request_keys WHERE admission = ? AND word = ?", admission, key.word)
	return u, err
}

// loadKeys reads the keys that are asked under. Who has locked a pass's row has its keys
// too.
func (t *table) loadKeys(ctx context.Context, acts []*act) error {
	var ids []string
	var which []string
	var args []any
	for _, a := range acts {
		if a.key.word != "" {
			ids = append(ids, a.id)
			which, args = append(which, "admission = ? AND word = ?"), append(args, a.id, a.key.word)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var counts []struct {
		Admission string `db:"admission"`
		N         int    `db:"n"`
	}
	if err := t.query(ctx, &counts, "SELECT admission, COUNT(*) AS n FROM request_keys WHERE admission IN (?) GROUP BY admission", unique(ids)); err != nil {
		return err
	}
	for _, c := range counts {
		t.keys[c.Admission] = &usedKeys{count: c.N}
	}
	if len(counts) == 0 {
		return nil
	}
	var rows []keyRow
	if err := t.query(ctx, &rows, "SELECT "+keyColumns+" FROM request_keys WHERE "+strings.Join(which, " OR "), args...); err != nil {
		return err
	}
	for _, k := range rows {
		if u := t.keys[k.Admission]; !slices.Contains(u.rows, k) { // two acts of one key name it twice
			u.rows = append(u.rows, k)
		}
	}
	return nil
}

// repeat is what an act came to when its key was used before.
func (t *table) repeat(a *act) (repeated bool, err error) {
	if t.keys[a.id] == nil {
		t.keys[a.id] = &usedKeys{}
	}
	k, err := t.keys[a.id].find(a.key)
	if k == nil || err != nil {
		return err != nil, err
	}
	if a.kind == toConfirm {
		return true, errLost // another one's was first: what was authorised for this one goes back
	}
	h := t.holds[k.Hold]
	if h == nil {
		return true, seat.ErrHoldEnded // it is kept no longer
	}
	a.got, a.fresh = *h, a.kind == toHold && k.CameTo == done
	return true, nil
}

// keep notes what an act with a key came to. A pass without a row has nobody's lock, so
// nothing is kept of it: it has no hold, and a repeat hears so again.
func (t *table) keep(a *act, cause error) {
	if t.admissions[a.id] == nil {
		return
	}
	if h := t.holds[a.hold]; errors.Is(cause, errLost) && h != nil && h.Admission == a.id && h.State == confirmed {
		cause = nil // a confirm of what was confirmed just now is answered the booking
	}
	k := keyRow{Admission: a.id, Word: a.key.word, Request: a.key.request, CameTo: done, Hold: a.hold}
	switch {
	case cause != nil:
		k.Hold = ""
		for _, r := range refusals {
			if errors.Is(cause, r.err) {
				k.CameTo = r.word
				break
			}
		}
		if k.CameTo == done {
			return // not among them
		}
	case a.kind == toHold:
		k.Hold = a.got.ID
		if !a.fresh {
			k.CameTo = there
		}
	}
	used := t.keys[a.id]
	used.rows, used.count = append(used.rows, k), used.count+1
	t.kept = append(t.kept, k)
}

func (t *table) writeKeys(ctx context.Context, now time.Time) error {
	if len(t.kept) == 0 {
		return nil
	}
	var args []any
	for _, k := range t.kept {
		args = append(args, k.Admission, k.Word, k.Request, k.CameTo, k.Hold, now.UnixMilli())
	}
	_, err := t.tx.ExecContext(ctx, "INSERT INTO request_keys ("+keyColumns+", made_ms) VALUES "+rows(len(t.kept), 6), args...)
	return err
}
