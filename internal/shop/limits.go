package shop

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/limit"
	"waitroom/internal/outage"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// What one pass may ask for. A page has a request for the map, one for the pass and one
// act under way, and a second tab beside it; it looks every 3 s, and somebody who clicks
// fast makes some requests a second. Whoever sends more is a program.
const (
	passOpen  = 4
	passRate  = 10
	passBurst = 20
)

// What one address may try of passes that are not known: each costs the processor 50 us
// to verify, so a stranger gets half a percent of a core for good and 0.2 s at once. A
// pass that is good gives back what it took, so that only bad ones count, and 4,000
// visitors behind one address may come in within a moment.
const (
	tries      = 100
	triesBurst = 4000
)

// spread is by how much those who are sent away come back apart, in seconds: a crowd
// that came back all at once would be sent away again.
const spread = 4

// limited is a request beyond a limit, with the time after which to come back.
type limited struct {
	code  wire.Code
	retry time.Duration
	what  string
}

func (l *limited) Error() string { return string(l.code) + ": " + l.what }

// limits is what one visitor and one address may ask for, before anything is done.
type limits struct {
	source    *limit.Source
	addresses *limit.Limiter
	passes    *limit.Keyed
	told      *outage.Log
}

func newLimits(c Config, log *zap.Logger, reg prometheus.Registerer) *limits {
	proxies := c.proxies()
	for _, warning := range limit.Warnings(proxies) {
		log.Warn(warning)
	}
	l := &limits{
		source:    limit.NewSource(proxies, c.LimitPrivate),
		addresses: limit.New(c.addresses()),
		passes:    limit.NewKeyed(passOpen, passRate, passBurst),
		// No end is noted: what one visitor may not do another one may.
		told: outage.New(outage.Config{Log: log, Quiet: refusedQuiet, Down: "requests beyond a limit are refused"}),
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "limited_addresses",
		Help: "Addresses that the limits per address remember."}, func() float64 { return float64(l.addresses.Addresses()) }))
	return l
}

// from is the address that a request counts for; the zero value: none does.
func (l *limits) from(r *http.Request) netip.Prefix {
	key, limited := l.source.Client(r.RemoteAddr, r.Header.Values("X-Forwarded-For"))
	if !limited {
		return netip.Prefix{}
	}
	return key
}

// try lets an address show a pass that is not known yet; verified gives the try back.
func (l *limits) try(from netip.Prefix) error {
	if retry := l.addresses.Join(from); retry > 0 {
		return &limited{wire.AddressLimit, retry, "an address shows too many passes that are not good; behind a proxy, name it with --trusted-proxy"}
	}
	return nil
}

func (l *limits) verified(from netip.Prefix) { l.addresses.Unjoin(from) }

// take lets a visitor with a verified pass ask, and holds what it has open until the
// leases are released: while its answer is written, too, so that somebody who does not
// read has passOpen answers on their way and no more.
func (l *limits) take(pass token.Pass, from netip.Prefix) (leases [2]limit.Lease, err error) {
	var retry time.Duration
	if leases[0], retry = l.passes.Take(string(pass.Visitor)); retry > 0 {
		return leases, &limited{wire.PassLimit, retry, "a pass asks for more than a page does"}
	}
	if leases[1], retry = l.addresses.Connect(from); retry > 0 {
		leases[0].Release()
		return leases, &limited{wire.AddressLimit, retry, "an address is over --limit-open or --limit-requests; behind a proxy, name it with --trusted-proxy"}
	}
	return leases, nil
}

// seconds is when to come back, some seconds apart from the others.
func seconds(after time.Duration) int {
	return max(1, int((after+time.Second-1)/time.Second)) + rand.IntN(spread+1)
}
