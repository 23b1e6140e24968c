package testenv

import (
	"context"
	"database/sql"
	"net/url"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// MySQL makes an empty database on the shared MySQL or MariaDB and returns its
// DSN, "mysql://user:password@host:port/database". The database is dropped when
// the test ends: close every connection to it before, in a Cleanup made after
// this call.
func MySQL(t testing.TB) (dsn string) {
	t.Helper()
	address, err := url.Parse(address(t, "db", "WAITROOM_TEST_DB"))
	if err != nil {
		t.Fatalf("WAITROOM_TEST_DB is not a URL") // the error would print the password
	}
	if address.Scheme != "mysql" {
		t.Fatalf("WAITROOM_TEST_DB: got scheme %q, want mysql", address.Scheme)
	}
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", address.Host
	config.User = address.User.Username()
	config.Passwd, _ = address.User.Password()
	// A DROP waits for transactions that a failed test left open; by default for
	// a day.
	config.Params = map[string]string{"lock_wait_timeout": "10"}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatalf("WAITROOM_TEST_DB: %v", err)
	}

	run := func(statement string) error {
		// A pool for one statement, since an idle connection kept for the length
		// of each test would count against the server's limit.
		db := sql.OpenDB(connector)
		defer db.Close()
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		_, err := db.ExecContext(ctx, statement)
		return err
	}
	name := "wr_test_" + suffix()
	if err := run("CREATE DATABASE " + name + " CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("make a database on %s: %v", address.Host, err)
	}
	t.Cleanup(func() {
		if err := run("DROP DATABASE " + name); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	address.Path = "/" + name
	return address.String()
}
