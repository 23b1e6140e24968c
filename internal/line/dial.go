package line

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"waitroom/internal/secret"
)

const (
	// readTimeout bounds a call whose context has no deadline. Reading takes at
	// most a few ms when Redis is well; a visitor is better told "stalled" than
	// kept waiting.
	readTimeout = 2 * time.Second
	// dialTimeout holds the hand-shake of TLS as well: a few round trips.
	dialTimeout = 500 * time.Millisecond
	// mapInterval is the age at which a cluster's map of slots is read again, by a
	// call that meets it. By default it is a minute, and until then no client comes
	// back after a failover. The answer may come from a node that has not heard of it
	// yet, so that two may be needed; one costs a node some 20 µs.
	mapInterval = 300 * time.Millisecond
	// redirects are the tries of a cluster's client: with its growing pauses 1.5 s
	// in all, unless the context ends before.
	redirects = 8
	// clusterConns are the connections per core to each master, and clusterPipes those
	// for pipelines: three masters then need little more than a single server, for
	// which package process keeps open files. A master does one thing at a time.
	clusterConns = 4
	clusterPipes = 4
)

// Server is the Redis that holds the line: one server, a Redis Cluster, or a
// master behind Sentinels. The password may stand in the URL, but not on a command
// line, or in a file, which is read again for each connection.
type Server struct {
	URL                  string `name:"redis" help:"Redis that holds the line: redis://[user@]host:port[/db]; redis-cluster://host:port,host:port for a cluster, some of its nodes; redis-sentinel://host:port,host:port/master[/db]; with rediss for TLS. A password belongs into --redis-password-file or into the environment." default:"redis://127.0.0.1:6379/0" env:"WAITROOM_REDIS"`
	PasswordFile         string `name:"redis-password-file" help:"File with the password of Redis; read again for each new connection." placeholder:"FILE" env:"WAITROOM_REDIS_PASSWORD_FILE"`
	SentinelUser         string `name:"redis-sentinel-user" help:"User at the Sentinels, which have users and passwords of their own." placeholder:"NAME" env:"WAITROOM_REDIS_SENTINEL_USER"`
	SentinelPasswordFile string `name:"redis-sentinel-password-file" help:"File with the password of the Sentinels; read at the start." placeholder:"FILE" env:"WAITROOM_REDIS_SENTINEL_PASSWORD_FILE"`
	CA                   string `name:"redis-ca" help:"PEM file of the authorities that may sign the certificates of Redis, instead of the system's." placeholder:"FILE" env:"WAITROOM_REDIS_CA"`
	Cert                 string `name:"redis-cert" help:"PEM file with our certificate, for a Redis that asks for one." placeholder:"FILE" env:"WAITROOM_REDIS_CERT"`
	Key                  string `name:"redis-key" help:"PEM file with the key of --redis-cert." placeholder:"FILE" env:"WAITROOM_REDIS_KEY"`
	ServerName           string `name:"redis-server-name" help:"Name that the certificates of Redis bear, when it is not the host: a cluster's nodes may announce themselves by IP." placeholder:"NAME" env:"WAITROOM_REDIS_SERVER_NAME"`
}

// Check reports everything that is wrong with the flags, by flag and without a
// word of the URL.
func (s Server) Check() error {
	_, err := s.options()
	return err
}

// String is the address without user and password, for logs and errors.
func (s Server) String() string {
	a, err := parseAddress(s.URL)
	if err != nil {
		return "redis"
	}
	return a.String()
}

// Dial returns a client. It does not connect yet; the caller closes it.
func (s Server) Dial() (redis.UniversalClient, error) {
	silence()
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	switch o.address.topology {
	case cluster:
		return redis.NewClusterClient(o.cluster()), nil
	case sentinel:
		return redis.NewFailoverClient(o.sentinel()), nil
	}
	return redis.NewClient(o.single()), nil
}

// Dial is Server.Dial for a URL alone.
func Dial(url string) (redis.UniversalClient, error) { return Server{URL: url}.Dial() }

// options are the flags, read and checked.
type options struct {
	address          address
	tls              *tls.Config // nil: none
	secret           func(context.Context) (user, password string, err error)
	sentinelUser     string
	sentinelPassword string
}

func (s Server) options() (options, error) {
	var o options
	var errs []error
	wrong := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", flag, err))
		}
	}
	var err error
	o.address, err = parseAddress(s.URL)
	wrong("--redis", err)
	if o.address.secret && slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasSuffix(arg, s.URL) }) {
		wrong("--redis", errors.New("a password on the command line can be read by everybody on the machine; use --redis-password-file or WAITROOM_REDIS"))
	}
	if s.PasswordFile != "" {
		if o.address.secret {
			wrong("--redis-password-file", errors.New("the URL has a password as well; want one of them"))
		}
		_, err := secret.Read(s.PasswordFile)
		wrong("--redis-password-file", err)
		user, file := o.address.user, s.PasswordFile
		o.secret = func(context.Context) (string, string, error) {
			password, err := secret.Read(file)
			return user, password, err
		}
	}
	if o.address.user != "" && o.address.password == "" && s.PasswordFile == "" {
		// The library would go in as the default user instead.
		wrong("--redis", errors.New("a user without a password; want --redis-password-file as well"))
	}
	known := err == nil // of a URL that can't be read, nothing more is said
	if known && o.address.topology != sentinel {
		for flag, value := range map[string]string{"--redis-sentinel-user": s.SentinelUser, "--redis-sentinel-password-file": s.SentinelPasswordFile} {
			if value != "" {
				wrong(flag, errors.New("is for redis-sentinel:// only"))
			}
		}
	} else if s.SentinelPasswordFile != "" {
		o.sentinelPassword, err = secret.Read(s.SentinelPasswordFile)
		wrong("--redis-sentinel-password-file", err)
	}
	o.sentinelUser = s.SentinelUser
	if known {
		o.tls, err = s.tls(o.address.tls)
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// tls is nil where the URL does not ask for it. Without a name the dialer takes the
// host of each connection, as it must with several of them.
func (s Server) tls(wanted bool) (*tls.Config, error) {
	var errs []error
	if !wanted {
		for flag, value := range map[string]string{"--redis-ca": s.CA, "--redis-cert": s.Cert, "--redis-key": s.Key, "--redis-server-name": s.ServerName} {
			if value != "" {
				errs = append(errs, fmt.Errorf("%s: is for TLS only, with a URL that begins with rediss", flag))
			}
		}
		return nil, errors.Join(errs...)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		conf.RootCAs = x509.NewCertPool()
		if err != nil {
			errs = append(errs, fmt.Errorf("--redis-ca: %w", err))
		} else if !conf.RootCAs.AppendCertsFromPEM(pem) {
			errs = append(errs, fmt.Errorf("--redis-ca %s: no certificate in it", s.CA))
		}
	}
	switch {
	case s.Cert != "" && s.Key != "":
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("--redis-cert, --redis-key: %w", err))
		}
		conf.Certificates = []tls.Certificate{pair}
	case s.Cert != s.Key:
		errs = append(errs, errors.New("--redis-cert, --redis-key: want both or none"))
	}
	return conf, errors.Join(errs...)
}

// The three kinds of clients have options of their own with the same meaning. In
// all of them a context that ends, ends the call (by default it takes readTimeout),
// a dial is tried once, since the caller's next round asks again, and the library
// does not introduce itself (CLIENT SETINFO), which needs a right more.

func (o options) single() *redis.Options {
	a := o.address
	c := &redis.Options{Username: a.user, Password: a.password, CredentialsProviderContext: o.secret, DB: a.db, TLSConfig: o.tls,
		PoolSize: a.poolSize, MaxRetries: a.retries, DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: readTimeout, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: quiet()}
	if a.socket != "" {
		c.Network, c.Addr = "unix", a.socket
	} else {
		c.Addr = a.hosts[0]
	}
	return c
}

func (o options) cluster() *redis.ClusterOptions {
	a := o.address
	conns, pipes := clusterConns*runtime.GOMAXPROCS(0), clusterPipes
	if a.poolSize > 0 {
		conns, pipes = a.poolSize, a.poolSize
	}
	return &redis.ClusterOptions{Addrs: a.hosts, Username: a.user, Password: a.password, CredentialsProviderContext: o.secret, TLSConfig: o.tls,
		PoolSize: conns, PipelinePoolSize: pipes, DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: readTimeout, ContextTimeoutEnabled: true, DisableIdentity: true,
		ClusterStateReloadInterval: mapInterval, MaxRedirects: redirects,
		// The policies would ask some node for COMMAND at the first call, for 5 s and
		// whatever the context says, and again each time that the user may not.
		DisableRoutingPolicies:   true,
		MaintNotificationsConfig: quiet()}
}

func (o options) sentinel() *redis.FailoverOptions {
	a := o.address
	return &redis.FailoverOptions{MasterName: a.master, SentinelAddrs: a.hosts, SentinelUsername: o.sentinelUser, SentinelPassword: o.sentinelPassword,
		Username: a.user, Password: a.password, CredentialsProviderContext: o.secret, DB: a.db, TLSConfig: o.tls,
		PoolSize: a.poolSize, MaxRetries: a.retries, DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: readTimeout, ContextTimeoutEnabled: true, DisableIdentity: true}
}

// quiet: Redis before 8 does not know the hand-shake of maintenance notifications;
// asking costs a round trip.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// The client library prints a line for every failed dial, hundreds while Redis is
// away. Each comes back as the error of a call, which is where it is told.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })
