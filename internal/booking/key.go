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
	return Key{word, base64.RawURLEncoding.EncodeToString(all.Sum(nil))}, nil
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
// ErrKeyBusy, ErrKeys.
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
		rows, err := o.store.keysOf(ctx, pass.Admission.String())
		if err == nil {
			_, err = repeatOf(rows, o.key)
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
	Seats     string      `db:"seats"` // that stood in the way
	Hold      seat.HoldID `db:"hold"`
}

const keyColumns = "admission, word, request, came_to, seats, hold"

// done is what an act came to that was not refused.
const done = "done"

// refusals are the words under which a refusal is kept. What is not among them was not
// decided: a repeat is a new try.
var refusals = []struct {
	word string
	err  error
}{
	{"taken", seat.ErrTaken}, {"unknown", seat.ErrUnknown}, {"no_room", seat.ErrNoRoom}, {"no_hold", seat.ErrNoHold},
	{"ended", seat.ErrHoldEnded}, {"ended", errLost}, {"open", seat.ErrHoldOpen}, {"extended", seat.ErrExtended},
	{"spent", seat.ErrPassSpent}, {"old", seat.ErrEpoch},
}

// refusal is the error that a row was kept for.
func (k keyRow) refusal() error {
	if k.CameTo == done {
		return nil
	}
	if k.CameTo == "taken" {
		return &seat.TakenError{Seats: holdRow{Seats: k.Seats}.seats()}
	}
	for _, r := range refusals {
		if r.word == k.CameTo {
			return r.err
		}
	}
	return broken("key of pass %s came to %q", k.Admission, k.CameTo)
}

// repeatOf finds a key among those of its pass; nil: it is new. The error is what the
// request was refused with, or seat.ErrKeyReused, or seat.ErrKeys.
func repeatOf(rows []keyRow, key Key) (*keyRow, error) {
	for i, k := range rows {
		switch {
		case k.Word != key.word:
		case k.Request != key.request:
			return nil, seat.ErrKeyReused
		default:
			return &rows[i], k.refusal()
		}
	}
	if len(rows) >= keysMost {
		return nil, seat.ErrKeys
	}
	return nil, nil
}

// keysOf reads the keys of a pass.
func (s *Store) keysOf(ctx context.Context, admission string) (rows []keyRow, err error) {
	err = s.db.SelectContext(ctx, &rows, "SELECT "+keyColumns+" FROM request_keys WHERE admission = ?", admission)
	return rows, err
}

// loadKeys reads the keys of those passes that ask under one. Who has locked a pass's row
// has its keys too.
func (t *table) loadKeys(ctx context.Context, acts []*act) error {
	var ids []string
	for _, a := range acts {
		if a.key.word != "" {
			ids = append(ids, a.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var rows []keyRow
	if err := t.query(ctx, &rows, "SELECT "+keyColumns+" FROM request_keys WHERE admission IN (?)", unique(ids)); err != nil {
		return err
	}
	for _, k := range rows {
		t.keys[k.Admission] = append(t.keys[k.Admission], k)
	}
	return nil
}

// repeat is what an act came to when its key was used before.
func (t *table) repeat(a *act) (repeated bool, err error) {
	k, err := repeatOf(t.keys[a.id], a.key)
	if k == nil || err != nil {
		return err != nil, err
	}
	if a.kind == toConfirm {
		return true, errLost // another booker's was first: what was authorised for this one goes back
	}
	h := t.holds[k.Hold]
	if h == nil {
		return true, seat.ErrHoldEnded // it is kept no longer
	}
	a.got, a.fresh = *h, a.kind == toHold
	return true, nil
}

// keep notes what an act with a key came to.
func (t *table) keep(a *act, cause error) {
	k := keyRow{Admission: a.id, Word: a.key.word, Request: a.key.request, CameTo: done, Hold: a.hold}
	if cause != nil {
		i := slices.IndexFunc(refusals, func(r struct {
			word string
			err  error
		}) bool {
			return errors.Is(cause, r.err)
		})
		if i < 0 {
			return
		}
		k.CameTo, k.Hold = refusals[i].word, ""
		var taken *seat.TakenError
		if errors.As(cause, &taken) {
			k.Seats = joined(taken.Seats)
		}
	} else if a.kind == toHold {
		k.Hold = a.got.ID // the one that was there, where the same seats were asked for again
	}
	t.keys[a.id] = append(t.keys[a.id], k)
	t.kept = append(t.kept, k)
}

func (t *table) writeKeys(ctx context.Context, now time.Time) error {
	if len(t.kept) == 0 {
		return nil
	}
	var args []any
	for _, k := range t.kept {
		args = append(args, k.Admission, k.Word, k.Request, k.CameTo, k.Seats, k.Hold, now.UnixMilli())
	}
	_, err := t.tx.ExecContext(ctx, "INSERT INTO request_keys ("+keyColumns+", made_ms) VALUES "+rows(len(t.kept), 7), args...)
	return err
}
