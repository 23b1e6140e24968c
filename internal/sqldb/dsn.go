package sqldb

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// ErrDSN is a database URL of no known form.
var ErrDSN = errors.New("database: want mysql://user:password@host:port/name or sqlite:path/to/file.db")

// CheckDSN reports whether Open would understand dsn, without connecting.
func CheckDSN(dsn string) error {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch Dialect(scheme) {
	case MySQL:
		_, err := mysqlConfig(dsn)
		return err
	case SQLite:
		_, err := sqlitePath(rest)
		return err
	}
	return ErrDSN
}

// mysqlConfig never returns the parser's own error: it would print the password.
func mysqlConfig(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
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
	config.Timeout = openWait
	// A write waits for the kernel's buffer only, which is full when nobody reads.
	config.ReadTimeout, config.WriteTimeout = statementWait, openWait
	config.InterpolateParams = true // one round trip per statement
	config.ClientFoundRows = true   // rows matched, as SQLite counts them
	config.Logger = &mysql.NopLogger{}
	return config, nil
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
