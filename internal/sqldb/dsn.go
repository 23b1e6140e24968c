package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"

	"waitroom/internal/secret"
)

// ErrDSN is a database URL of no known form.
var ErrDSN = errors.New("database: want mysql://user:password@host:port/name, mysqls:// for TLS, or sqlite:path/to/file.db")

// overTLS is the scheme of MySQL over TLS, where the server's certificate has to be good
// for its host.
const overTLS = "mysqls"

// Config says which database and how to it.
type Config struct {
	DSN string
	// PasswordFile has the password of MySQL in its first line, in the place of one in
	// DSN. It is read for each new connection, so that a password can be changed without
	// a restart.
	PasswordFile string
	// CA is a PEM file of the authorities that may have signed the server's certificate;
	// without it, the system's may.
	CA string
}

// Check reports everything that is wrong, by the booker's flags and without a word of
// the URL.
func (c Config) Check() error {
	var errs []error
	wrong := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", flag, err))
		}
	}
	wrong("--db", CheckDSN(c.DSN))
	scheme, _, _ := strings.Cut(c.DSN, ":")
	u, err := url.Parse(c.DSN)
	switch {
	case c.PasswordFile == "":
	case err != nil: // told by --db
	case Dialect(scheme) == SQLite:
		wrong("--db-password-file", errors.New("is for MySQL and MariaDB only"))
	default:
		if _, has := u.User.Password(); has {
			wrong("--db-password-file", errors.New("the URL has a password as well; want one of them"))
		}
		_, err := secret.Read(c.PasswordFile)
		wrong("--db-password-file", err)
	}
	switch {
	case c.CA == "":
	case scheme != overTLS:
		wrong("--db-ca", errors.New("is for TLS only, with a URL that begins with mysqls"))
	default:
		_, err := readCA(c.CA)
		wrong("--db-ca", err)
	}
	return errors.Join(errs...)
}

// CheckDSN reports whether Open would understand dsn, without connecting.
func CheckDSN(dsn string) error {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case string(MySQL), overTLS:
		_, err := mysqlConfig(Config{DSN: dsn})
		return err
	case string(SQLite):
		_, err := sqlitePath(rest)
		return err
	}
	return ErrDSN
}

// mysqlConfig never returns the parser's own error: it would print the password.
func mysqlConfig(c Config) (*mysql.Config, error) {
	u, err := url.Parse(c.DSN)
	if err != nil || u.Host == "" || len(u.Path) < 2 || u.RawQuery != "" || u.Fragment != "" {
		return nil, ErrDSN
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", u.Host, u.Path[1:]
	if u.Port() == "" {
		config.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	if c.PasswordFile != "" {
		if err := config.Apply(mysql.BeforeConnect(passwordOf(c.PasswordFile))); err != nil {
			return nil, err
		}
	}
	if u.Scheme == overTLS {
		config.TLS = &tls.Config{MinVersion: tls.VersionTLS12} // the driver adds the host's name
		if c.CA != "" {
			if config.TLS.RootCAs, err = readCA(c.CA); err != nil {
				return nil, err
			}
		}
	}
	config.Timeout = openWait
	// A write waits for the kernel's buffer only, which is full when nobody reads.
	config.ReadTimeout, config.WriteTimeout = statementWait, openWait
	config.InterpolateParams = true // one round trip per statement
	config.ClientFoundRows = true   // rows matched, as SQLite counts them
	config.Logger = &mysql.NopLogger{}
	return config, nil
}

// passwordOf reads the password anew. A file that is being replaced is like a server that
// is away: the next connection may find it.
func passwordOf(file string) func(context.Context, *mysql.Config) error {
	return func(_ context.Context, config *mysql.Config) (err error) {
		if config.Passwd, err = secret.Read(file); err != nil {
			return fmt.Errorf("%w: password: %w", ErrAway, err)
		}
		return nil
	}
}

func readCA(name string) (*x509.CertPool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", name)
	}
	return pool, nil
}

// sqlitePath reads what follows "sqlite:": a path, or "//" and an absolute one.
// A database in memory is refused: each connection would see one of its own.
func sqlitePath(rest string) (string, error) {
	path := rest
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		path = after
		if !filepath.IsAbs(path) {
			return "", ErrDSN
		}
	}
	if path == "" || strings.HasPrefix(path, ":") || strings.ContainsAny(path, "?#") {
		return "", ErrDSN
	}
	return path, nil
}
