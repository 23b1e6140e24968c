package main

import (
	"context"
	crand "crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"waitroom/internal/booking"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// rowLimit is how long a row may take: who waits for the whole table waits for some
// thirty of them.
const rowLimit = time.Minute

// repeat measures until it was done as often as the bench does, or a further time
// would pass the limit of a row. Once it is done always.
func (b *bench) repeat(once func() error) error {
	began := time.Now()
	for i := range b.runs() {
		if i > 0 && time.Since(began)*time.Duration(i+1)/time.Duration(i) > rowLimit {
			return nil
		}
		if err := once(); err != nil {
			return err
		}
	}
	return nil
}

// floorConns are the connections of a floor, as many as sqldb opens.
const floorConns = 32

// bare opens a database by the driver alone, set as sqldb sets it, and for several
// statements in one trip. An empty name is none.
func bare(dsn, name string) (*sql.DB, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "mysql" || u.User == nil {
		return nil, errors.New("WAITROOM_TEST_DB: want mysql://user:password@host:port/name") // the error would print the password
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", u.Host, name
	if u.Port() == "" {
		config.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.InterpolateParams, config.ClientFoundRows, config.MultiStatements = true, true, true
	config.Params = map[string]string{"tx_isolation": "'READ-COMMITTED'"}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(floorConns)
	db.SetMaxIdleConns(floorConns)
	return db, nil
}

// database sets the durability of the run and says what the figures are taken on;
// putBack undoes it.
func database(ctx context.Context, dsn string, syncs int) (said string, putBack func(), err error) {
	db, err := bare(dsn, "")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	var version string
	var binlog, before, flush, pool int64
	err = db.QueryRowContext(ctx, "SELECT @@version, @@log_bin, @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@innodb_buffer_pool_size").
		Scan(&version, &binlog, &before, &flush, &pool)
	if err == nil {
		_, err = db.ExecContext(ctx, "SET GLOBAL sync_binlog = "+strconv.Itoa(syncs))
	}
	if err != nil {
		return "", nil, fmt.Errorf("the database's settings: %w", err)
	}
	logged := "on"
	if binlog == 0 {
		logged = "**off** (start it by `scripts/services --production`)"
	}
	said = fmt.Sprintf("Database: %s, binary log %s, sync_binlog=%d, innodb_flush_log_at_trx_commit=%d, %d MB of buffer pool.",
		version, logged, syncs, flush, pool>>20)
	return said, func() {
		_, _ = db.Exec("SET GLOBAL sync_binlog = " + strconv.FormatInt(before, 10)) // a server of the bench's own is gone soon
		db.Close()
	}, nil
}

// shopGround is a database of a row's own, with the tables of the shop and, beside
// them, those of the floor: the same, empty, under names that begin with floor_.
type shopGround struct {
	dsn    string
	server *sql.DB
	name   string
	pid    string // of the server; "": it is not of this machine, or does not say
	db     *sqldb.DB
	store  *booking.Store
	floor  *sql.DB
	dir    string         // of its files
	keys   *token.Keyring // that sign the passes
	rooms  int            // made so far
}

// rules are the shop's defaults.
var rules = booking.Rules{Hold: 5 * time.Minute, Grace: 2 * time.Second}

// floorFacts is the table of the floor's facts: of the columns that any outbox has.
const floorFacts = `CREATE TABLE floor_facts (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, topic VARCHAR(100) NOT NULL,
	msg_key VARBINARY(100) NOT NULL, headers BLOB NOT NULL, payload MEDIUMBLOB NOT NULL, at_ms BIGINT NOT NULL) ENGINE=InnoDB`

// onShop runs a row on a database of its own, and drops it.
func onShop(ctx context.Context, b *bench, row func(*shopGround) error) (err error) {
	if b.db == "" {
		return errors.New("WAITROOM_TEST_DB is not set")
	}
	g := &shopGround{name: "bench_" + strings.ToLower(crand.Text()[:12])}
	u, err := url.Parse(b.db)
	if err != nil {
		return errors.New("WAITROOM_TEST_DB is not a URL")
	}
	u.Path = "/" + g.name
	g.dsn = u.String()
	if g.dir, err = os.MkdirTemp("", "waitroom-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(g.dir)
	key, err := token.NewKey()
	if err == nil {
		g.keys, err = token.NewKeyring(key)
	}
	if err == nil {
		err = g.keys.WriteFile(filepath.Join(g.dir, "keys"))
	}
	if err != nil {
		return err
	}
	if g.server, err = bare(b.db, ""); err != nil {
		return err
	}
	defer g.server.Close()
	if _, err := g.server.ExecContext(ctx, "CREATE DATABASE "+g.name+" CHARACTER SET utf8mb4"); err != nil {
		return err
	}
	defer func() {
		// Its own context: the database goes after a Ctrl-C as well.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, dropped := g.server.ExecContext(ctx, "DROP DATABASE "+g.name)
		err = errors.Join(err, dropped)
	}()
	if g.db, err = sqldb.Open(ctx, g.dsn); err != nil {
		return err
	}
	defer g.db.Close()
	if g.store, err = booking.NewStore(ctx, g.db, rules); err != nil {
		return err
	}
	if g.floor, err = bare(b.db, g.name); err != nil {
		return err
	}
	defer g.floor.Close()
	for _, t := range []string{"admissions", "holds", "seats", "bookings", "booked_seats", "stock"} {
		if _, err := g.floor.ExecContext(ctx, "CREATE TABLE floor_"+t+" LIKE "+t); err != nil {
			return err
		}
	}
	if _, err := g.floor.ExecContext(ctx, floorFacts); err != nil {
		return err
	}
	for _, pool := range []*sql.DB{g.db.DB.DB, g.floor} {
		if err := warm(ctx, pool); err != nil {
			return err
		}
	}
	var file string
	if g.server.QueryRowContext(ctx, "SELECT @@pid_file").Scan(&file) == nil {
		if pid, err := os.ReadFile(file); err == nil {
			g.pid = strings.TrimSpace(string(pid))
		}
	}
	return row(g)
}

// warm opens all connections of a pool: each statement sleeps until all of them run.
func warm(ctx context.Context, db *sql.DB) error {
	n := db.Stats().MaxOpenConnections
	return callers(ctx, n, n, rowLimit, func(ctx context.Context, _ int) error {
		_, err := db.ExecContext(ctx, "DO SLEEP(0.05)")
		return err
	}).some()
}

// spent is the processor time that this process and the database have used, in µs.
type spent struct{ own, db float64 }

// spent is what they have used so far. A database that does not say has used nothing.
func (g *shopGround) spent() (s spent, err error) {
	if s.own, err = processor(); err != nil || g.pid == "" {
		return s, err
	}
	stat, err := os.ReadFile("/proc/" + g.pid + "/stat")
	if err != nil {
		return s, nil // another machine's pid
	}
	// Behind the name, which may hold anything; 11 and 12 are user and system ticks.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return s, err
		}
		s.db += ticks * 1e4 // a hundred a second, on every Linux that Go runs on
	}
	return s, nil
}

// each is what was used since before for each of n, in µs.
func (s spent) each(before spent, n int) spent {
	return spent{(s.own - before.own) / float64(max(1, n)), (s.db - before.db) / float64(max(1, n))}
}
