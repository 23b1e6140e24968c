package payment

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"

	"waitroom/internal/outage"
)

const (
	// maxAnswer is fifty times a payment with ten refunds; a proxy's page may be longer.
	maxAnswer = 64 << 10
	// maxHeader bounds the header of an answer: a proxy adds some hundred bytes.
	maxHeader = 16 << 10
	// idle is how long a connection waits for the next payment. Balancers close after a
	// minute; one that is closed under a request costs a second try.
	idle = 50 * time.Second
	// persists is how long the service must fail before the log says so, and be well before it
	// says that: one payment that hung among good ones is no outage.
	persists = 2 * time.Second
)

// Limits are how long a call may take, from the first try to connect to the last byte.
// What is 0 is what DefaultLimits says.
type Limits struct {
	Authorise, Capture, Void, Refund, Look time.Duration
}

// DefaultLimits are of a service that asks banks: most answer within a second, a few take
// five. A look asks the service's own books.
var DefaultLimits = Limits{Authorise: 10 * time.Second, Capture: 10 * time.Second, Void: 10 * time.Second, Refund: 10 * time.Second, Look: 5 * time.Second}

// Config says where the service is and how long it is waited for.
type Config struct {
	URL    string // of the service, http or https
	Key    Secret // of the shop, sent as a bearer; "" for none
	Limits Limits
	// Trip is after how many failures in a row the service is not asked for a while, 5 if
	// it is 0: with fewer a few payments that hang would close the shop, with more each
	// worker waits for more of them. Rest is how long, 5 s if it is 0; then one call is let
	// through, and the others wait for what comes of it.
	Trip int
	Rest time.Duration
	// Conns is how many connections there are at most, 64 if it is 0: more than the workers
	// of a process. Whoever finds none waits within its limit.
	Conns int
	Log   *zap.Logger
}

// Client asks one service. It is safe for concurrent use, and has no goroutine of its own
// but those of its connections, which Close ends.
type Client struct {
	base    string
	key     Secret
	limits  Limits
	rest    time.Duration
	wire    *http.Transport
	http    *http.Client
	breaker *gobreaker.CircuitBreaker[reply]
	outage  *outage.Log
}

// New makes a client. It sends nothing.
func New(config Config) (*Client, error) {
	u, err := url.Parse(config.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Without its text: who writes a password into it should not read it in a log.
		return nil, errors.New("want the payment service's URL as http://host:port or https://host, without user, query and fragment")
	}
	for own, byDefault := range map[*time.Duration]time.Duration{
		&config.Limits.Authorise: DefaultLimits.Authorise, &config.Limits.Capture: DefaultLimits.Capture, &config.Limits.Void: DefaultLimits.Void,
		&config.Limits.Refund: DefaultLimits.Refund, &config.Limits.Look: DefaultLimits.Look, &config.Rest: 5 * time.Second,
	} {
		if *own <= 0 {
			*own = byDefault
		}
	}
	if config.Trip <= 0 {
		config.Trip = 5
	}
	if config.Conns <= 0 {
		config.Conns = 64
	}
	c := &Client{base: strings.TrimRight(u.String(), "/"), key: config.Key, limits: config.Limits, rest: config.Rest}
	c.wire = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext, // a try of TCP to connect, and one more
		TLSHandshakeTimeout:    3 * time.Second,
		MaxConnsPerHost:        config.Conns,
		MaxIdleConnsPerHost:    config.Conns,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // an answer has some hundred bytes, and could unpack to any number
		ForceAttemptHTTP2:      true,
	}
	c.http = &http.Client{
		Transport: c.wire,
		// A redirect would take key and card to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.breaker = gobreaker.NewCircuitBreaker[reply](gobreaker.Settings{
		Timeout:     config.Rest,
		ReadyToTrip: func(n gobreaker.Counts) bool { return int64(n.ConsecutiveFailures) >= int64(config.Trip) },
		// Who was told to stop has learned nothing about the service.
		IsExcluded: func(err error) bool { return errors.Is(err, errGone) },
	})
	log := config.Log
	if log == nil {
		log = zap.NewNop()
	}
	c.outage = outage.New(outage.Config{Log: log, Hold: persists,
		Down: "the payment service does not answer as it should; payments wait, none is lost", Up: "the payment service answers again"})
	return c, nil
}

// Close closes the connections that nobody uses. Calls under way go on.
func (c *Client) Close() { c.wire.CloseIdleConnections() }

// Away reports whether the service failed so often that it is not asked for a while.
func (c *Client) Away() bool { return c.breaker.State() == gobreaker.StateOpen }

// Authorise reserves the money. A repeat with the same attempt and method reserves nothing
// twice, and is answered as the first one was: what has become of it since is for Look.
func (c *Client) Authorise(ctx context.Context, a Attempt, m Method) (Result, error) {
	r := request{verb: "authorise", method: http.MethodPost, path: "/payments", limit: c.limits.Authorise,
		body: AuthoriseBody{Amount: a.Amount, Currency: a.Currency, Method: string(m.Token), Return: m.Return}}
	p, result, err := c.ask(ctx, a, r)
	if p != nil && result.Outcome == Captured && result.Captured != a.Amount {
		return r.refused(ReasonAmountDiffers)
	}
	return result, err
}

// Capture takes the money that was reserved, all of it.
func (c *Client) Capture(ctx context.Context, a Attempt) (Result, error) {
	r := request{verb: "capture", method: http.MethodPost, path: of(a, "/capture"), limit: c.limits.Capture,
		body: MoneyBody{a.Amount, a.Currency}}
	p, result, err := c.ask(ctx, a, r)
	switch {
	case p == nil:
		return result, err
	case result.Outcome != Captured && result.Outcome != Refunded:
		return r.unknown(ReasonAnswer)
	case result.Captured != a.Amount:
		return r.refused(ReasonAmountDiffers)
	}
	return result, nil
}

// Void lets go of what was reserved, or of what is still pending.
func (c *Client) Void(ctx context.Context, a Attempt) (Result, error) {
	r := request{verb: "void", method: http.MethodPost, path: of(a, "/void"), limit: c.limits.Void}
	p, result, err := c.ask(ctx, a, r)
	if p != nil && result.Outcome != Voided {
		return r.unknown(ReasonAnswer)
	}
	return result, err
}

// Refund gives back a part of what was captured, or all of it. The refund's key stands
// against its repeats; the outcome is Refunded, whatever of the payment is left.
func (c *Client) Refund(ctx context.Context, a Attempt, back Refund) (Result, error) {
	r := request{verb: "refund", method: http.MethodPost, path: of(a, "/refund"), limit: c.limits.Refund, key: back.Key,
		body: MoneyBody{back.Amount, a.Currency}}
	if !GoodKey(back.Key) || back.Amount < 1 || back.Amount > a.Amount {
		return r.refused(ReasonRequest)
	}
	p, result, err := c.ask(ctx, a, r)
	if p == nil {
		return result, err
	}
	for _, done := range p.Refunds {
		switch {
		case done == back:
			result.Outcome = Refunded
			return result, nil
		case done.Key == back.Key:
			return r.refused(ReasonAmountDiffers)
		}
	}
	return r.unknown(ReasonAnswer) // it says nothing of this refund
}

// Look asks what has become of an attempt. It changes nothing.
func (c *Client) Look(ctx context.Context, a Attempt) (Result, error) {
	_, result, err := c.ask(ctx, a, request{verb: "look", method: http.MethodGet, path: of(a, ""), limit: c.limits.Look})
	return result, err
}

// of is the path of what is asked about an attempt. Its key needs no escaping.
func of(a Attempt, act string) string { return "/payments/by-key/" + a.Key + act }

// request is one question.
type request struct {
	verb, method, path string
	key                string // "": the attempt's
	body               any    // nil: none
	limit              time.Duration
}

func (r request) refused(reason string) (Result, error) {
	return Result{Outcome: Refused, Reason: reason}, fmt.Errorf("%s: %w: %s", r.verb, ErrRefused, reason)
}

func (r request) unknown(reason string) (Result, error) {
	return Result{Outcome: Unknown, Reason: reason}, fmt.Errorf("%s: %w: %s", r.verb, ErrUnknown, reason)
}

// ask sends a request through the breaker and compares the answer with the attempt. The
// payment is nil unless it can be believed.
func (c *Client) ask(ctx context.Context, a Attempt, r request) (*Payment, Result, error) {
	none := func(result Result, err error) (*Payment, Result, error) { return nil, result, err }
	if err := a.check(); err != nil {
		return nil, Result{Outcome: Refused, Reason: ReasonRequest}, fmt.Errorf("%s: %w: %w", r.verb, ErrRefused, err)
	}
	if r.key == "" {
		r.key = a.Key
	}
	answer, err := c.breaker.Execute(func() (reply, error) {
		answer, err := c.send(ctx, r)
		if !errors.Is(err, errGone) {
			c.outage.Note(ctx, err)
		}
		return answer, err
	})
	var f *failure
	switch {
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, Result{}, fmt.Errorf("%s: %w: it failed, and is not asked for %s", r.verb, ErrAway, c.rest)
	case errors.As(err, &f) && !f.sent && f.ended != nil:
		return nil, Result{}, fmt.Errorf("%s: %w", r.verb, f.ended)
	case errors.As(err, &f) && !f.sent:
		return nil, Result{}, fmt.Errorf("%s: %w: %w", r.verb, ErrAway, err)
	case errors.As(err, &f):
		return nil, Result{Outcome: Unknown, Reason: f.reason}, fmt.Errorf("%s: %w: %w", r.verb, ErrUnknown, err)
	case err != nil:
		return nil, Result{}, err // a body that can't be written: nothing was sent
	}
	switch answer.code {
	case "":
	case reasonAbsent:
		return nil, Result{Outcome: Absent}, nil
	case ReasonInProgress:
		return none(r.unknown(ReasonInProgress))
	default:
		return none(r.refused(answer.code))
	}
	result, outcome, reason := answer.payment.result(a)
	switch {
	case reason == "":
		return answer.payment, result, nil
	case outcome == Refused:
		return none(r.refused(reason))
	}
	return none(r.unknown(reason))
}

// failure is how a call came to no answer that can be used. Its text is made of words of
// this package alone.
type failure struct {
	sent   bool   // something may have been
	reason string // a code
	text   string
	ended  error // the caller's own context, where that was the cause
}

func (f *failure) Error() string { return f.text }

// errGone marks the failures that the caller itself made, for the breaker.
var errGone = errors.New("the caller is gone")

// Is lets the breaker and the log of outages know a failure that is not the service's.
func (f *failure) Is(target error) bool {
	return f.ended != nil && (target == errGone || target == f.ended)
}

// send makes one request, and reads one answer.
func (c *Client) send(ctx context.Context, r request) (reply, error) {
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	// Once a connection was there, something may have been sent. The transport repeats by
	// itself, on a new connection, what was sent on one that the service had closed: it may,
	// since there is an Idempotency-Key. So the last error alone does not tell.
	var sent atomic.Bool
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	var body io.Reader = http.NoBody
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return reply{}, errors.New("the request can't be written") // without what it holds
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(limited, r.method, c.base+r.path, body)
	if err != nil {
		return reply{}, errors.New("the request can't be made") // without what it holds
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Idempotency-Key", r.key)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+string(c.key))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return reply{}, failed(ctx, err, sent.Load())
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return reply{}, failed(ctx, err, true)
	}
	if len(text) > maxAnswer {
		return reply{}, &failure{sent: true, reason: ReasonAnswer, text: "an answer of more than 64 KB"}
	}
	answer, reason := read(res.StatusCode, res.Header.Get("Content-Type"), text)
	if reason != "" {
		return reply{}, &failure{sent: true, reason: reason, text: fmt.Sprintf("%s (status %d)", reason, res.StatusCode)}
	}
	return answer, nil
}

// failed puts an error of net/http into words of ours: its own text may quote what the
// service sent, or the URL.
func failed(ctx context.Context, err error, sent bool) *failure {
	f := &failure{sent: sent, reason: ReasonLost, ended: ctx.Err()}
	var (
		errno    syscall.Errno
		dns      *net.DNSError
		network  net.Error
		unproven *tls.CertificateVerificationError
	)
	switch {
	case f.ended != nil:
		f.text = "the caller waits no longer"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		f.reason, f.text = ReasonTimeOut, "no answer in time"
		if !sent {
			f.text = "no connection in time"
		}
	case errors.As(err, &errno):
		f.text = errno.Error()
	case errors.As(err, &dns):
		f.text = "its name is not found"
	case errors.As(err, &unproven):
		f.text = "its certificate is not accepted"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.text = "the connection was closed"
	default:
		f.text = "the connection failed"
	}
	if f.ended != nil && errors.Is(f.ended, context.DeadlineExceeded) {
		f.reason = ReasonTimeOut
	}
	return f
}
