package psp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/payment"
)

const (
	// maxBody is many times a request with a long return_url.
	maxBody = 8 << 10
	// maxServed bounds the requests in service, those that are kept waiting on purpose too;
	// the next one is answered 503.
	maxServed = 2000
	// hangs is how long a request is kept that is never answered, if its client waits so
	// long: longer than any client does.
	hangs = 2 * time.Minute
	// sweeps is how often is looked for what lapses; nobody sees it sooner but by asking,
	// which looks as well.
	sweeps = time.Second
)

// Config says what a Service is. The zero value is one in memory that makes no mistake.
type Config struct {
	Journal string        // file of the ledger; "": in memory alone
	Lapse   time.Duration // after which what is not captured is free again; 7 days if 0
	Faults  Faults
	Seed    uint64

	APIKey    payment.Secret // that the shop has to show; "": none
	PublicURL string         // where browsers find the page; "": where the shop found the service

	CallbackURL string           // "": callbacks are sent to nobody
	Secrets     []payment.Secret // sign callbacks
	Log         *zap.Logger
}

// Service is the payment service. Its ledger is there from New to Close; callbacks and
// lapses come while Run runs.
type Service struct {
	http.Handler

	// Set once.
	config  Config
	ledger  *Ledger
	dice    *dice
	sender  *sender
	returns *returns
	slots   chan struct{} // a place for each request in service
	stopped chan struct{} // closed by Close: who hangs goes

	mu      sync.Mutex
	serving map[asked]bool // requests with these keys; guarded by mu
	closed  bool
}

// New reads the journal, if there is one.
func New(config Config) (*Service, error) {
	if config.Lapse <= 0 {
		config.Lapse = 7 * 24 * time.Hour
	}
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if err := config.Faults.Check(); err != nil {
		return nil, err
	}
	s := &Service{config: config, dice: newDice(config.Faults, config.Seed), slots: make(chan struct{}, maxServed),
		stopped: make(chan struct{}), serving: map[asked]bool{}, returns: newReturns()}
	s.sender = newSender(config.CallbackURL, config.Secrets, s.dice, config.Log)
	var err error
	if s.ledger, err = openLedger(config.Journal, config.Lapse, s.sender.changed); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", s.limited(s.authorise))
	mux.HandleFunc("GET /payments/by-key/{key}", s.limited(s.look))
	mux.HandleFunc("POST /payments/by-key/{key}/capture", s.limited(s.move(capture)))
	mux.HandleFunc("POST /payments/by-key/{key}/void", s.limited(s.move(void)))
	mux.HandleFunc("POST /payments/by-key/{key}/refund", s.limited(s.move(refund)))
	mux.HandleFunc("GET /ledger", s.books)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.dice.now()) })
	mux.HandleFunc("POST /faults", s.changeFaults)
	mux.HandleFunc("GET /pay/{id}", s.page)
	mux.HandleFunc("POST /pay/{id}", s.decide)
	s.Handler = mux
	return s, nil
}

// Run sends callbacks and lets lapse what is due, until ctx ends. Its error is the
// journal's: nothing can be promised any more.
func (s *Service) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sending.Go(func() { s.sender.run(ctx) }) // ends with ctx, awaited above
	tick := time.NewTicker(sweeps)
	defer tick.Stop()
	for {
		if err := s.ledger.sweep(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Close sends away who is kept waiting on purpose, and closes the journal. Whoever asks
// later is answered 500.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.stopped)
	return s.ledger.close()
}

// Sums are what each currency's payments come to.
func (s *Service) Sums() map[string]Sums { return s.ledger.totals() }

// problems are the answers to what can't be done.
var problems = map[error]int{
	errAbsent: http.StatusNotFound, errState: http.StatusConflict, errReused: http.StatusUnprocessableEntity,
	errTooMuch: http.StatusUnprocessableEntity, errTooMany: http.StatusUnprocessableEntity, errCurrency: http.StatusUnprocessableEntity,
	errFull: http.StatusServiceUnavailable,
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	answer(w, status, payment.Problem{Code: code, Detail: detail})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone, or its connection is
}

// limited serves what shops ask: at most maxServed at once, who has the key, and after the
// time that every request takes, if it is not to fail.
func (s *Service) limited(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			problem(w, http.StatusServiceUnavailable, "busy", "")
			return
		}
		faults := s.dice.now()
		if faults.Outage {
			panic(http.ErrAbortHandler) // cuts the connection
		}
		if key := string(s.config.APIKey); key != "" {
			got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if subtle.ConstantTimeCompare([]byte(got), []byte(key)) != 1 {
				problem(w, http.StatusUnauthorized, "unauthorised", "")
				return
			}
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			problem(w, http.StatusBadRequest, payment.ReasonRequest, "the body is too long, or it ended early")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		key := asked{r.URL.Path, r.Header.Get("Idempotency-Key")}
		if r.Method == http.MethodPost {
			if !payment.GoodKey(key.key) {
				problem(w, http.StatusBadRequest, payment.ReasonRequest, "want an Idempotency-Key of 8 to 64 letters, digits, - or _")
				return
			}
			if !s.begin(key) {
				problem(w, http.StatusConflict, payment.ReasonInProgress, "")
				return
			}
		}
		done := false
		end := func() {
			if !done && r.Method == http.MethodPost {
				done = true
				s.end(key)
			}
		}
		defer end()
		if !s.wait(r, s.dice.delay()) {
			return
		}
		switch {
		case s.dice.roll(faults.Errors):
			problem(w, http.StatusInternalServerError, "internal", "a fault on purpose")
			return
		case s.dice.roll(faults.HTML):
			proxyPage(w)
			return
		}
		next(w, r.WithContext(context.WithValue(r.Context(), endKey{}, end)))
	}
}

// endKey is where the end of a request's service is found, for those that hang after it.
type endKey struct{}

func (s *Service) begin(key asked) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving[key] {
		return false
	}
	s.serving[key] = true
	return true
}

func (s *Service) end(key asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.serving, key)
}

// wait waits; false: the client is gone, or the service closes.
func (s *Service) wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.stopped:
	}
	return false
}

// hang answers never, and cuts the connection at last.
func (s *Service) hang(r *http.Request) {
	r.Context().Value(endKey{}).(func())() // it was done: a repeat is answered
	s.wait(r, hangs)
	panic(http.ErrAbortHandler)
}

// fingerprint knows a request again: its path and its body.
func fingerprint(r *http.Request, body []byte) string {
	h := sha256.New()
	_, _ = io.WriteString(h, r.URL.Path+"\n") // a hash takes all
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil)[:16]) // 128 bits: no two requests of a ledger meet
}

// decode reads a body of one JSON value with known fields.
func decode(body []byte, into any) error {
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(into); err != nil {
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

func (s *Service) authorise(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // it is in memory
	var ask payment.AuthoriseBody
	if decode(body, &ask) != nil || ask.Amount < 1 || ask.Amount > payment.MaxAmount || !payment.GoodCurrency(ask.Currency) || !goodReturn(ask.Return) {
		problem(w, http.StatusBadRequest, payment.ReasonRequest, "want amount, currency, method and perhaps return_url")
		return
	}
	key := r.Header.Get("Idempotency-Key")
	e := Entry{Act: authorise, Payment: key, ID: newID(), Amount: ask.Amount, Currency: ask.Currency, Key: key, Hash: fingerprint(r, body)}
	if isCard(ask.Method) {
		e.Card = ask.Method
	}
	switch ask.Method {
	case card500:
		problem(w, http.StatusInternalServerError, "internal", "a fault on purpose")
		return
	case cardHTML:
		proxyPage(w)
		return
	case cardSlow:
		if !s.wait(r, time.Duration(s.dice.now().Slow)) {
			return
		}
	case cardRedirect:
		e.Act = pend
	case cardDeclined:
		e.Act, e.Reason = decline, payment.ReasonCard
	case cardFunds:
		e.Act, e.Reason = decline, payment.ReasonFunds
	}
	switch {
	case e.Card == "":
		e.Act, e.Reason = decline, payment.ReasonNoCard
	case e.Act == authorise && s.dice.roll(s.dice.now().Declines):
		e.Act, e.Reason = decline, payment.ReasonCard
	}
	if e.Act == pend && ask.Return != "" {
		s.returns.put(e.ID, ask.Return)
	}
	s.act(w, r, e, ask.Method == cardTimeout)
}

// goodReturn reports whether a browser may be sent there.
func goodReturn(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && len(text) <= 2000 && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" // as browsers and proxies take
}

// move serves what is done to a payment that is there.
func (s *Service) move(a act) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // it is in memory
		var ask payment.MoneyBody
		if a == void {
			if len(body) > 0 {
				problem(w, http.StatusBadRequest, payment.ReasonRequest, "want no body")
				return
			}
		} else if decode(body, &ask) != nil || ask.Amount < 1 || !payment.GoodCurrency(ask.Currency) {
			problem(w, http.StatusBadRequest, payment.ReasonRequest, "want amount and currency")
			return
		}
		s.act(w, r, Entry{Act: a, Payment: r.PathValue("key"), Amount: ask.Amount, Currency: ask.Currency,
			Key: r.Header.Get("Idempotency-Key"), Hash: fingerprint(r, body)}, false)
	}
}

// act does it, and answers unless that is to fail. A repeat is answered.
func (s *Service) act(w http.ResponseWriter, r *http.Request, e Entry, silent bool) {
	p, repeated, err := s.ledger.do(e)
	if err == nil && !repeated {
		faults := s.dice.now()
		switch {
		case silent, s.dice.roll(faults.Timeouts):
			s.hang(r)
		case s.dice.roll(faults.Cuts):
			panic(http.ErrAbortHandler)
		}
	}
	s.tell(w, r, p, err)
}

func (s *Service) look(w http.ResponseWriter, r *http.Request) {
	p, err := s.ledger.find(r.PathValue("key"))
	s.tell(w, r, p, err)
}

// tell answers with a payment, or why not.
func (s *Service) tell(w http.ResponseWriter, r *http.Request, p payment.Payment, err error) {
	if status, known := problems[err]; known {
		problem(w, status, err.Error(), "")
		return
	}
	if err != nil {
		s.config.Log.Error("the ledger", zap.Error(err))
		problem(w, http.StatusInternalServerError, "internal", "")
		return
	}
	if p.State == payment.Pending {
		base := s.config.PublicURL
		if base == "" {
			base = "http://" + r.Host
		}
		p.Redirect = strings.TrimRight(base, "/") + "/pay/" + p.ID
	}
	answer(w, http.StatusOK, p)
}

// Books are what GET /ledger answers.
type Books struct {
	Sums      map[string]Sums   `json:"sums"`
	Callbacks Callbacks         `json:"callbacks"`
	Payments  []payment.Payment `json:"payments,omitempty"`
	Entries   []Entry           `json:"entries,omitempty"`
}

func (s *Service) books(w http.ResponseWriter, r *http.Request) {
	if err := s.ledger.sweep(); err != nil {
		problem(w, http.StatusInternalServerError, "internal", "")
		return
	}
	if r.URL.Query().Has("sums") {
		answer(w, http.StatusOK, Books{Sums: s.Sums(), Callbacks: s.sender.counts()})
		return
	}
	sums, payments, entries := s.ledger.books()
	answer(w, http.StatusOK, Books{sums, s.sender.counts(), payments, entries})
}

func (s *Service) changeFaults(w http.ResponseWriter, r *http.Request) {
	if err := s.dice.change(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		problem(w, http.StatusBadRequest, payment.ReasonRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, s.dice.now())
}

// proxyPage is what a proxy in between would answer.
func proxyPage(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html><title>One moment</title><h1>One moment, please</h1>") // the client may be gone
}
