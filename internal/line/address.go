package line

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"waitroom/internal/hostport"
)

// topology is how the servers of an address stand to each other.
type topology int

const (
	single   topology = iota // one server
	cluster                  // a Redis Cluster; the hosts are some of its nodes
	sentinel                 // the hosts are Sentinels, which know the master
)

// address is a URL of --redis, taken apart.
type address struct {
	topology topology
	tls      bool
	socket   string   // path of a Unix socket, instead of hosts
	hosts    []string // host:port
	user     string
	password string
	secret   bool   // the URL holds a password, be it an empty one
	master   string // the name under which the Sentinels know it
	db       int
	poolSize int // connections to each server; 0 for our own number
	retries  int // by the client, of one server; 0 for its own number, -1 for none
}

var schemes = map[string]struct {
	topology topology
	tls      bool
}{
	"redis": {single, false}, "rediss": {single, true},
	"redis-cluster": {cluster, false}, "rediss-cluster": {cluster, true},
	"redis-sentinel": {sentinel, false}, "rediss-sentinel": {sentinel, true},
}

// Ports of a host that names none.
const (
	redisPort    = 6379
	sentinelPort = 26379
)

// Bounds of the parameters. A server takes 10,000 clients by default, all processes
// together; after 10 tries the context of any call has ended.
const (
	maxPool    = 1_000
	maxRetries = 10
)

// reserved says how a character is written that ends a part of the URL.
const reserved = "in a password write / ? # @ % as %2F %3F %23 %40 %25"

// parseAddress takes a URL apart. Its errors say which part is wrong and never
// repeat any of it: what looks like a host may be the end of a password.
func parseAddress(text string) (address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return address{}, errors.New("want a URL such as redis://host:6379/0")
	}
	if scheme == "unix" {
		return parseSocket(rest)
	}
	kind, ok := schemes[scheme]
	if !ok {
		return address{}, errors.New("want a URL that begins with redis://, redis-cluster:// or redis-sentinel://, or rediss for TLS")
	}
	a := address{topology: kind.topology, tls: kind.tls}
	rest, query, _ := strings.Cut(rest, "?")
	rest, path, _ := strings.Cut(rest, "/")
	hosts, err := a.credentials(rest)
	if err != nil {
		return address{}, err
	}
	params, err := a.parameters(query)
	if err != nil {
		return address{}, err
	}
	more := params["addr"]
	port := redisPort
	if a.topology == sentinel {
		port = sentinelPort
	}
	for i, host := range append(strings.Split(hosts, ","), more...) {
		clean, err := hostport.Server(host, port)
		if err != nil {
			return address{}, fmt.Errorf("host %d: %w (%s)", i+1, err, reserved)
		}
		a.hosts = append(a.hosts, clean)
	}
	if a.topology == single && len(a.hosts) > 1 {
		a.topology = cluster
	}
	return a, a.path(path)
}

// credentials cuts user and password off the hosts.
func (a *address) credentials(text string) (hosts string, err error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text, nil
	}
	user, password, secret := strings.Cut(text[:at], ":")
	name, err1 := url.PathUnescape(user)
	word, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return "", fmt.Errorf("user and password: a %% that begins no code (%s)", reserved)
	}
	a.user, a.password, a.secret = name, word, secret
	return text[at+1:], nil
}

// parameters reads what follows the ?. The options of the client library are not
// among them: some would let a node read an old line, and the timeouts are ours.
func (a *address) parameters(query string) (url.Values, error) {
	params, err := url.ParseQuery(query)
	if err != nil || strings.Contains(query, "@") {
		return nil, fmt.Errorf("what follows the ? can't be read (%s)", reserved)
	}
	for name, values := range params {
		switch {
		case name == "addr" && a.topology != sentinel:
		case name == "pool_size":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 1 || n > maxPool {
				return nil, fmt.Errorf("pool_size: want 1 to %d", maxPool)
			}
			a.poolSize = n
		case name == "max_retries" && a.topology != cluster: // a cluster's client counts redirects
			n, err := strconv.Atoi(values[0])
			if err != nil || n < -1 || n > maxRetries {
				return nil, fmt.Errorf("max_retries: want -1 (none) to %d", maxRetries)
			}
			a.retries = n
		default:
			return nil, fmt.Errorf("a parameter that is none here; there are addr, pool_size and max_retries (%s)", reserved)
		}
	}
	return params, nil
}

func (a *address) path(path string) error {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if a.topology == sentinel {
		if len(parts) == 0 {
			return errors.New("want the name of the master behind the Sentinels: redis-sentinel://host:26379/name")
		}
		a.master, parts = parts[0], parts[1:]
	}
	switch {
	case len(parts) > 1:
		return fmt.Errorf("too many / behind the hosts (%s)", reserved)
	case len(parts) == 0:
		return nil
	}
	db, err := strconv.Atoi(parts[0])
	if err != nil || db < 0 {
		return fmt.Errorf("behind the hosts: want the number of a database (%s)", reserved)
	}
	if a.topology == cluster && db != 0 {
		return errors.New("a cluster has the database 0 only")
	}
	a.db = db
	return nil
}

// parseSocket reads unix://[user:password@]/path[?db=n].
func parseSocket(rest string) (address, error) {
	var a address
	rest, query, _ := strings.Cut(rest, "?")
	path, err := a.credentials(rest)
	if err != nil {
		return address{}, err
	}
	if !strings.HasPrefix(path, "/") {
		return address{}, errors.New("want the whole path of a socket: unix:///path")
	}
	a.socket = path
	params, err := url.ParseQuery(query)
	db := params["db"]
	if err != nil || len(params) > 1 || len(params) == 1 && len(db) != 1 {
		return address{}, errors.New("a socket takes no parameter but db")
	}
	if len(db) == 1 {
		if a.db, err = strconv.Atoi(db[0]); err != nil || a.db < 0 {
			return address{}, errors.New("db: want the number of a database")
		}
	}
	return a, nil
}

// String is the address without user and password, for logs and errors.
func (a address) String() string {
	if a.socket != "" {
		return "unix://" + a.socket
	}
	text := "redis"
	if a.tls {
		text = "rediss"
	}
	switch a.topology {
	case cluster:
		text += "-cluster"
	case sentinel:
		text += "-sentinel"
	}
	text += "://" + strings.Join(a.hosts, ",")
	if a.master != "" {
		text += "/" + a.master
	}
	if a.db != 0 {
		text += "/" + strconv.Itoa(a.db)
	}
	return text
}
