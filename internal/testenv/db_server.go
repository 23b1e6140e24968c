package testenv

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The users of a [MariaDB]: the shop's, who may not write while the server is read
// only, and the operator's, who may do all.
const (
	mariaShop  = "shop"
	mariaAdmin = "admin"
	mariaWord  = "s3cret" // of both
)

// mariaSmall is for a server of a test, small and quick. What a kill leaves is in the
// kernel, so nothing has to wait for the disk, and 8 MB of redo log are enough where the
// default is 96.
var mariaSmall = []string{"--innodb-flush-method=nosync", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"}

// MariaDB is a database server of one test, which may stop, kill, freeze and
// reconfigure it to see what the code does meanwhile. What it has committed outlives a
// kill, as in production. Not for use by several goroutines at once.
type MariaDB struct {
	// Set once.
	t    testing.TB
	dir  string
	port int
	args []string

	// The process that runs now; nil after Stop and Kill.
	process *os.Process
	exited  chan struct{} // closed by the goroutine that waits for process
}

// StartMariaDB starts a MariaDB for this test alone, with an empty database "shop", with
// further arguments if need be, and stops it when the test ends: about a second on an
// idle machine. The server has this process's environment: its time zone is TZ. The test
// is skipped where WAITROOM_TEST_DB is not set, and fails where it is and mariadbd is
// not on the PATH.
func StartMariaDB(t testing.TB, args ...string) *MariaDB {
	t.Helper()
	address(t, "db", "WAITROOM_TEST_DB")
	s := &MariaDB{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(s.Stop)
	if err := s.install(); err != nil {
		t.Fatalf("a test with a MariaDB of its own: %v", err)
	}
	// Another process may take the port between the look and the bind.
	var err error
	for range 3 {
		if s.port, err = freePort(); err != nil {
			continue
		}
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("start a MariaDB for the test: %v", err)
	return nil
}

// install makes the server's own tables and says whom it lets in.
func (s *MariaDB) install() error {
	// The script splits a path at its spaces, so it gets one that has none.
	cmd := exec.Command("mariadb-install-db", append([]string{"--no-defaults", "--datadir=./data", "--skip-test-db",
		"--auth-root-authentication-method=normal"}, mariaSmall...)...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	// A nameless user of localhost would be preferred to '%'.
	text := fmt.Sprintf(`DELETE FROM mysql.global_priv WHERE User = '';
FLUSH PRIVILEGES;
CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS '%[1]s'@'%%' IDENTIFIED BY '%[3]s';
GRANT ALL PRIVILEGES ON shop.* TO '%[1]s'@'%%';
CREATE USER IF NOT EXISTS '%[2]s'@'%%' IDENTIFIED BY '%[3]s';
GRANT ALL PRIVILEGES ON *.* TO '%[2]s'@'%%' WITH GRANT OPTION;
`, mariaShop, mariaAdmin, mariaWord)
	return os.WriteFile(filepath.Join(s.dir, "init.sql"), []byte(text), 0o600)
}

// Addr is "127.0.0.1:port", the same over restarts.
func (s *MariaDB) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// DSN is the database as the shop's user reaches it, as WAITROOM_TEST_DB has it.
func (s *MariaDB) DSN() string { return s.At(s.Addr()) }

// At is DSN over another address, such as a [Relay]'s.
func (s *MariaDB) At(addr string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(mariaShop, mariaWord), Host: addr, Path: "/shop"}
	return u.String()
}

// Exec runs statements as the operator, each in a session of its own.
func (s *MariaDB) Exec(statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		if err := s.admin(func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, statement)
			return err
		}); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (s *MariaDB) admin(do func(context.Context, *sql.DB) error) error {
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.Passwd = "tcp", s.Addr(), mariaAdmin, mariaWord
	config.Logger = &mysql.NopLogger{} // a server that starts refuses connections
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return do(ctx, db)
}

// Stop ends the server as an operator would and returns when it has ended. It does
// nothing where none runs.
func (s *MariaDB) Stop() { s.t.Helper(); s.end(syscall.SIGTERM) }

// Kill ends the server by kill -9 and returns when it has ended.
func (s *MariaDB) Kill() { s.t.Helper(); s.end(syscall.SIGKILL) }

// Restart stops the server if it runs, and starts it again with its data on the same
// port; it returns when the server answers.
func (s *MariaDB) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("restart MariaDB: %v", err)
	}
}

// Pause freezes the server: connections stay open, new ones are accepted by the kernel,
// and nobody answers. It returns when none of the server's threads runs any more. Resume,
// Stop and Kill end it.
func (s *MariaDB) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	end := time.Now().Add(wait)
	for !s.stopped() {
		if time.Now().After(end) {
			s.t.Fatalf("MariaDB runs on after SIGSTOP for %v", wait)
		}
		time.Sleep(time.Millisecond) // threads stop one after the other
	}
}

// stopped reports whether the kernel has stopped all threads. Where there is no /proc, it
// is believed.
func (s *MariaDB) stopped() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.process.Pid))
	for _, path := range threads {
		text, err := os.ReadFile(path)
		// The state stands behind the name, which may hold spaces.
		if _, state, ok := strings.Cut(string(text), ") "); err == nil && ok && state[0] != 'T' {
			return false
		}
	}
	return true
}

// Resume wakes a paused server, which then answers what was asked meanwhile.
func (s *MariaDB) Resume() { s.t.Helper(); s.signal(syscall.SIGCONT) }

func (s *MariaDB) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatalf("%v for a MariaDB that does not run", sig)
	}
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("%v: %v", sig, err)
	}
}

func (s *MariaDB) end(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		return
	}
	// Errors mean that it has ended already, which exited then tells.
	_ = s.process.Signal(sig)
	_ = s.process.Signal(syscall.SIGCONT) // a paused one hears nothing else but SIGKILL
	select {
	case <-s.exited:
	case <-time.After(wait):
		_ = s.process.Kill()
		<-s.exited
		s.t.Errorf("MariaDB did not end on %v within %v", sig, wait)
	}
	s.process = nil
}

// start returns when the server answers, and its error holds the end of the log
// otherwise.
func (s *MariaDB) start() error {
	data, log := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "log")
	args := slices.Concat([]string{"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(s.port), "--socket=mariadb.sock", "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--init-file=" + filepath.Join(s.dir, "init.sql"), "--log-error=" + log, "--skip-name-resolve",
		"--user=" + strconv.Itoa(os.Getuid())}, mariaSmall, s.args)
	cmd := exec.Command("mariadbd", args...)
	var err error
	if s.process, s.exited, err = spawn(cmd); err != nil {
		return err
	}
	if err = s.await(); err != nil {
		s.end(syscall.SIGKILL)
		return withEnd(err, log)
	}
	return nil
}

// await asks until our server answers: the file in the reply tells it from another that
// took the port. It runs init.sql before it accepts the first connection.
func (s *MariaDB) await() error {
	end := time.After(wait)
	tick := time.NewTicker(20 * time.Millisecond) // a start takes about 300
	defer tick.Stop()
	for {
		var pid string
		err := s.admin(func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT @@pid_file").Scan(&pid)
		})
		if err == nil {
			if want := filepath.Join(s.dir, "pid"); pid != want {
				return fmt.Errorf("port %d is served by the process of %s, not by ours", s.port, pid)
			}
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("mariadbd ended")
		case <-end:
			return fmt.Errorf("mariadbd on port %d did not answer within %v: %w", s.port, wait, err)
		case <-tick.C:
		}
	}
}
