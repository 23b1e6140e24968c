// Command psp is a payment service that takes nobody's money: an HTTP server with a ledger,
// whose test cards and flags do what real services do at times. internal/psp says what it
// answers.
//
//	go run ./scripts/psp --journal /tmp/psp.journal --callback-url http://127.0.0.1:8080/payments/callback --secret-file secret
//	curl -d '{"amount":4500,"currency":"EUR","method":"card_ok"}' -H 'Idempotency-Key: attempt-1' http://127.0.0.1:8099/payments
//	curl -d '{"amount":4500,"currency":"EUR"}' -H 'Idempotency-Key: attempt-1' http://127.0.0.1:8099/payments/by-key/attempt-1/capture
//	curl -d '{"outage":true}' http://127.0.0.1:8099/faults
//	curl http://127.0.0.1:8099/ledger
//
// What it said it took is still taken after a kill -9 with --journal; without it the ledger
// ends with the process. It has no password unless --api-key-file is given, and /ledger and
// /faults never have: keep it on your own machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/payment"
	"waitroom/internal/process"
	"waitroom/internal/psp"
	"waitroom/internal/secret"
)

// stopLimit is how long requests in service may go on after Ctrl-C: who looks at it waits
// a second at most. Those that hang on purpose are cut.
const stopLimit = 500 * time.Millisecond

// maxLapse is longer than any bank keeps money reserved.
const maxLapse = 90 * 24 * time.Hour

// No flag has an environment variable: a shell with the settings of a real fleet has
// nothing to say here.
type cli struct {
	process.Logging `embed:""`
	Listen          string        `help:"Address to listen on." default:"127.0.0.1:8099"`
	Journal         string        `help:"File that the ledger is appended to, and read from at the start. Without it the ledger is in memory alone." placeholder:"FILE"`
	Lapse           time.Duration `help:"After how long a payment that is authorised or pending, and was not captured, is voided." default:"168h"`
	CallbackURL     string        `help:"Where callbacks are sent; without it none are." placeholder:"URL"`
	SecretFile      []string      `help:"Files whose first line signs callbacks, with commas: each signs, so that a secret can be changed." placeholder:"FILE"`
	APIKeyFile      string        `name:"api-key-file" help:"File whose first line a shop has to send as a bearer; without it anybody may ask." placeholder:"FILE"`
	PublicURL       string        `help:"Where browsers find the page of card_redirect; without it where the shop found the service." placeholder:"URL"`
	Seed            uint64        `help:"What the shares draw by: the same requests one after the other meet the same faults." default:"1"`
	psp.Faults      `embed:""`
}

// Check reports every wrong value.
func (c *cli) Check() error {
	errs := []error{process.CheckListen("listen", c.Listen), c.Faults.Check()}
	if c.Lapse <= 0 || c.Lapse > maxLapse {
		errs = append(errs, fmt.Errorf("--lapse %s: want more than 0s, up to %s", c.Lapse, maxLapse))
	}
	for flag, text := range map[string]string{"callback-url": c.CallbackURL, "public-url": c.PublicURL} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			errs = append(errs, fmt.Errorf("--%s: want http://host or https://host", flag))
		}
	}
	if c.CallbackURL != "" && len(c.SecretFile) == 0 {
		errs = append(errs, errors.New("--callback-url needs --secret-file: a callback without a signature is believed by nobody"))
	}
	return errors.Join(errs...)
}

func main() {
	// A person reads this log, unless told otherwise.
	if _, set := os.LookupEnv("WAITROOM_LOG_FORMAT"); !set {
		os.Setenv("WAITROOM_LOG_FORMAT", "text")
	}
	var cards []string
	for _, card := range psp.Cards {
		cards = append(cards, card.Token+" "+card.Does)
	}
	process.Main("psp", "A payment service that takes nobody's money, for tests and the demo. The method of an authorisation is a test card: "+
		strings.Join(cards, "; ")+". A share is a number of 0 to 1.", &cli{})
}

// Run serves until ctx ends. The last line it prints are the ledger's sums.
func (c *cli) Run(ctx context.Context, env *process.Env) (err error) {
	config := psp.Config{Journal: c.Journal, Lapse: c.Lapse, Faults: c.Faults, Seed: c.Seed, PublicURL: c.PublicURL, CallbackURL: c.CallbackURL, Log: env.Log}
	for _, name := range c.SecretFile {
		text, err := secret.Read(name)
		if err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
		config.Secrets = append(config.Secrets, payment.Secret(text))
	}
	if c.APIKeyFile != "" {
		text, err := secret.Read(c.APIKeyFile)
		if err != nil {
			return fmt.Errorf("--api-key-file: %w", err)
		}
		config.APIKey = payment.Secret(text)
	}
	service, err := psp.New(config)
	if err != nil {
		return fmt.Errorf("--journal: %w", err)
	}
	defer func() { err = errors.Join(err, service.Close()) }()
	port, err := process.Listen("listen", c.Listen)
	if err != nil {
		return err
	}
	// Nothing is served yet, and whoever knocks waits in the kernel's queue.
	fmt.Fprintf(env.Out, "payments  http://%s/payments\nledger    http://%s/ledger\nCtrl-C ends it.\n", port.Addr(), port.Addr())
	server := &http.Server{
		Handler:           service,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second, // of 8 KB
		IdleTimeout:       2 * time.Minute,  // longer than a client keeps a connection, so that it closes first
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          nil,
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { defer stop(); served <- server.Serve(port) }() // ends with Shutdown or Close, awaited below
	go func() { defer stop(); ran <- service.Run(ctx) }()      // ends with ctx, awaited below
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if server.Shutdown(limit) != nil {
		_ = server.Close() // those that hang; their clients hear that they were cut
	}
	err = <-ran
	if bad := <-served; !errors.Is(bad, http.ErrServerClosed) {
		err = errors.Join(err, bad)
	}
	env.Log.Info("stopped", zap.Error(err))
	printSums(env.Out, service.Sums())
	return err
}

// printSums writes one line.
func printSums(out io.Writer, sums map[string]psp.Sums) {
	text := []string{"ledger:"}
	for _, currency := range slices.Sorted(maps.Keys(sums)) {
		s := sums[currency]
		text = append(text, fmt.Sprintf("%s payments %d, authorised %d, held %d, captured %d, released %d, refunded %d, net %d.",
			currency, s.Payments, s.Authorised, s.Held, s.Captured, s.Released, s.Refunded, s.Net))
	}
	if len(sums) == 0 {
		text = append(text, "no payments.")
	}
	fmt.Fprintln(out, strings.Join(text, " "))
}
