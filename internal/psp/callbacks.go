package psp

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/payment"
)

const (
	// maxCallbacks bounds those that wait: 10 MB. At the bound the newest is not sent, and
	// counted: a shop asks anyway for what it does not hear of.
	maxCallbacks = 10_000
	// inFlight is how many are sent at once: a shop that is slow is not drowned.
	inFlight = 8
	// callbackLimit is how long a shop may take to answer one.
	callbackLimit = 5 * time.Second
	// callbackTries bounds the tries of one, 1, 2, 4 … s apart: two minutes in all. A
	// service of the real world goes on for days.
	callbackTries = 8
)

// callback is one that waits to be sent.
type callback struct {
	due    time.Time
	n      int64 // of the entry, for an order among those that are due at once
	tries  int   // that failed
	body   []byte
	signed time.Time // the time in the signature; zero: that of the try
	forged bool      // signed with a secret that nobody has, and sent once
}

// queue is a heap by due.
type queue []*callback

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].n < q[j].n
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*callback)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = nil
	*q = (*q)[:len(*q)-1]
	return last
}

// Callbacks counts what became of them.
type Callbacks struct {
	Waiting   int   `json:"waiting"`   // those under way too
	Delivered int64 `json:"delivered"` // the shop answered 2xx
	GivenUp   int64 `json:"given_up"`  // after all tries
	Dropped   int64 `json:"dropped"`   // too many waited
	Forged    int64 `json:"forged"`    // sent, whatever was answered
}

// sender sends callbacks. They are in memory alone: a service that is started again sends
// none of before.
type sender struct {
	url     string
	secrets []payment.Secret
	dice    *dice
	client  *http.Client
	outage  *outage.Log
	wake    chan struct{} // holds one: something came

	mu    sync.Mutex
	queue queue
	count Callbacks // Waiting is those in the queue and under way
}

func newSender(url string, secrets []payment.Secret, dice *dice, log *zap.Logger) *sender {
	return &sender{url: url, secrets: secrets, dice: dice, wake: make(chan struct{}, 1),
		client: &http.Client{
			Timeout:       callbackLimit,
			Transport:     &http.Transport{MaxIdleConnsPerHost: inFlight, IdleConnTimeout: 50 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		outage: outage.New(outage.Config{Log: log, Down: "the shop does not take callbacks", Up: "the shop takes callbacks again"})}
}

// changed tells the shop of a payment, wrongly where a fault or its card says so.
func (s *sender) changed(c change) {
	if s.url == "" {
		return
	}
	now, faults := time.Now(), s.dice.now()
	event := payment.Event{ID: fmt.Sprintf("evt_%d", c.n), Created: c.at, Payment: c.Payment}
	body, err := json.Marshal(event)
	if err != nil {
		panic(err) // of numbers and strings: it can't fail
	}
	one := callback{due: now, n: c.n, body: body}
	if c.card == cardLate || s.dice.roll(faults.Lates) {
		one.due, one.signed = now.Add(time.Duration(faults.Late)), now
	}
	if c.card == cardForged || s.dice.roll(faults.Forgeries) {
		// It says what a thief would like to be true.
		event.ID, event.Payment.State, event.Payment.Captured, event.Payment.Reason = fmt.Sprintf("evt_forged_%d", c.n), payment.Captured, c.Amount, ""
		event.Payment.Refunded, event.Payment.Refunds = 0, nil
		lie, err := json.Marshal(event)
		if err != nil {
			panic(err) // as above
		}
		s.push(&callback{due: now, n: c.n, body: lie, forged: true})
	}
	s.push(&one)
	if c.card == cardDouble || s.dice.roll(faults.Duplicates) {
		again := one
		s.push(&again)
	}
}

// push lets one wait, unless too many do.
func (s *sender) push(c *callback) {
	s.mu.Lock()
	if s.count.Waiting >= maxCallbacks {
		s.count.Dropped++
		s.mu.Unlock()
		return
	}
	s.count.Waiting++
	heap.Push(&s.queue, c)
	s.mu.Unlock()
	s.stir()
}

// stir has run look again.
func (s *sender) stir() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look
	}
}

// next takes out one that is due, or says how long it is until one is; 0: there is none.
func (s *sender) next() (*callback, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, 0
	}
	if wait := time.Until(s.queue[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&s.queue).(*callback), 0
}

// run sends until ctx ends, and awaits what is under way.
func (s *sender) run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, inFlight)
	for ctx.Err() == nil {
		c, wait := s.next()
		if c != nil {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			all.Go(func() { // ends with the try, which ends with ctx
				defer func() { <-slots }()
				s.send(ctx, c)
			})
			continue
		}
		var due <-chan time.Time // nil: only what comes
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-due:
		}
	}
}

// send tries once, and has it tried again if that failed.
func (s *sender) send(ctx context.Context, c *callback) {
	err := s.post(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.forged:
		s.count.Waiting--
		s.count.Forged++
		return
	case err == nil:
		s.count.Waiting--
		s.count.Delivered++
	case c.tries+1 == callbackTries:
		s.count.Waiting--
		s.count.GivenUp++
	default:
		c.due = time.Now().Add(time.Second << c.tries)
		c.tries++
		heap.Push(&s.queue, c)
		defer s.stir()
	}
	s.outage.Note(ctx, err)
}

func (s *sender) post(ctx context.Context, c *callback) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	at, secrets := c.signed, s.secrets
	if at.IsZero() {
		at = time.Now()
	}
	if c.forged {
		secrets = []payment.Secret{payment.Secret(rand.Text())}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Signature", payment.Sign(c.body, at, secrets...))
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4096) // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}

// counts are the numbers of now.
func (s *sender) counts() Callbacks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
