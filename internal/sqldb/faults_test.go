package sqldb

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/testenv"
)

// slack is what a machine that runs the race detector over several packages takes more.
const slack = 2 * time.Second

// back is the promise: after this time a database that came back is in use again.
const back = 10 * time.Second

// A booker that vanishes in a transaction, without a word, gives its locks back while
// the others still wait for them.
func TestVanishedHolder(t *testing.T) {
	t.Parallel()
	dsn, relay := relayed(t)
	holder := opened(t, dsn)
	var other *DB
	write(t, holder, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)", "INSERT INTO a VALUES (1, 0)")
	const row = "UPDATE a SET n = n + 1 WHERE id = 1"
	err := holder.Tx(t.Context(), func(tx *sqlx.Tx) error {
		if _, err := tx.Exec(row); err != nil {
			return err
		}
		relay.Silence()
		other = opened(t, dsn)
		begun := time.Now()
		if _, err := other.DB.ExecContext(t.Context(), row); err != nil { // once, not again and again
			t.Errorf("the row of a booker that vanished: got %v after %v, want it within %v", err, time.Since(begun), lockWait)
		}
		relay.Cut()
		return nil
	})
	if !errors.Is(err, ErrUnsure) {
		t.Errorf("the booker that vanished: got %v, want ErrUnsure", err)
	}
	var n int
	if err := other.GetContext(t.Context(), &n, "SELECT n FROM a"); err != nil || n != 1 {
		t.Errorf("got %d, %v, want the one update that was committed", n, err)
	}
}

// Behind a server that vanished, without a word, another one is in use within 10 s, and
// who asked the first one hears so within a statement's time.
func TestVanishedServer(t *testing.T) {
	t.Parallel()
	dsn, relay := relayed(t)
	db := opened(t, dsn)
	var wait sync.WaitGroup
	for range conns {
		wait.Go(func() { db.GetContext(t.Context(), new(int), "SELECT SLEEP(0.05)") })
	}
	wait.Wait()
	relay.Silence()
	begun := time.Now()
	usable := make(chan time.Duration, 1)
	wait.Go(func() {
		for range 100 { // each of the dead connections is met by some caller
			if _, err := db.Write(t.Context(), "SELECT 1"); err == nil {
				usable <- time.Since(begun)
				return
			}
		}
	})
	err := db.Tx(t.Context(), func(tx *sqlx.Tx) error { return nil })
	if took := time.Since(begun); !errors.Is(err, ErrAway) || took > statementWait+slack {
		t.Errorf("a statement without an answer: got %v after %v, want ErrAway after %v", err, took, statementWait)
	}
	wait.Wait()
	select {
	case took := <-usable:
		if took > back {
			t.Errorf("got %v until the new server was in use, want %v", took, back)
		}
	default:
		t.Error("the new server was never in use")
	}
	for range conns { // no dead one is left
		begun := time.Now()
		if err := db.GetContext(t.Context(), new(int), "SELECT 1"); err != nil || time.Since(begun) > slack {
			t.Errorf("afterwards: got %v after %v", err, time.Since(begun))
		}
	}
}

// A server that is frozen: callers get their answer within their own limit or a
// statement's, a COMMIT is unsure, and all is well as soon as it wakes. A migration only
// takes longer.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	server := testenv.StartMariaDB(t)
	db := opened(t, server.DSN())
	list, err := readMigrations(steps(), "mysql")
	if err != nil {
		t.Fatal(err)
	}
	frozen := make(chan struct{})

	begins, migrated := make(chan struct{}), make(chan error)
	go func() { // ends when the server is awake again; its first statement is asked of the frozen one
		var first sync.Once
		migrated <- migrateMySQL(t.Context(), db, list, func(string, time.Duration) {}, func(string) {
			first.Do(func() { close(begins); <-frozen })
		})
	}()
	<-begins
	var wait sync.WaitGroup
	open := make(chan struct{})
	wait.Go(func() {
		err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
			_, err := tx.Exec("SELECT 1")
			close(open)
			<-frozen
			return err
		})
		if !errors.Is(err, ErrUnsure) {
			t.Errorf("a COMMIT: got %v, want ErrUnsure", err)
		}
	})
	<-open
	server.Pause()
	close(frozen)
	begun := time.Now()
	for i := range 2 * conns { // half of them wait for a connection
		wait.Go(func() {
			const limit = 2 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var err error
			if i%2 == 0 {
				err = db.GetContext(ctx, new(int), "SELECT 1")
			} else {
				err = db.Tx(ctx, func(tx *sqlx.Tx) error { _, err := tx.ExecContext(ctx, "SELECT 1"); return err })
			}
			if took := time.Since(begun); !errors.Is(err, ErrAway) || !errors.Is(err, context.DeadlineExceeded) || took > limit+linger+slack {
				t.Errorf("a caller with %v: got %v after %v, want ErrAway after its limit", limit, err, took)
			}
		})
	}
	wait.Go(func() {
		_, err := db.Write(t.Context(), "DO 1")
		if took := time.Since(begun); !errors.Is(err, ErrAway) || took > openWait+statementWait+slack {
			t.Errorf("a caller without a limit: got %v after %v, want ErrAway after %v", err, took, statementWait)
		}
	})
	wait.Wait() // for as long it is frozen
	select {
	case err := <-migrated:
		t.Errorf("frozen: got %v of a migration, want it still under way", err)
	default:
	}
	server.Resume()
	woken := time.Now()
	if _, err := db.Write(t.Context(), "DO 1"); err != nil || time.Since(woken) > slack {
		t.Errorf("awake again: got %v after %v, want an answer at once", err, time.Since(woken))
	}
	if err := <-migrated; err != nil {
		t.Errorf("awake again: a migration: %v", err)
	}
}

// A server that is killed and comes back is in use as soon as it answers; who asked it
// meanwhile heard ErrAway and lost nothing that was committed.
func testRestartedServer(t *testing.T, server *testenv.MariaDB) {
	db := opened(t, server.DSN())
	write(t, db, "CREATE TABLE restarted (id INT NOT NULL PRIMARY KEY AUTO_INCREMENT)")
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		wrote int
		after int
	)
	some, stop := make(chan struct{}, 1000), make(chan struct{})
	for range 8 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
					_, err := tx.Exec("INSERT INTO restarted VALUES ()")
					return err
				})
				mu.Lock()
				switch {
				case err == nil:
					wrote++
				case errors.Is(err, ErrUnsure):
					after++
				case !errors.Is(err, ErrAway):
					t.Errorf("got %v, want ErrAway", err)
				}
				mu.Unlock()
				if err == nil {
					select {
					case some <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	for range 100 {
		<-some
	}
	server.Kill()
	server.Restart()
	begun := time.Now()
	for len(some) > 0 {
		<-some
	}
	<-some
	if took := time.Since(begun); took > slack {
		t.Errorf("got %v until it was in use again", took)
	}
	close(stop)
	wait.Wait()
	var n int
	if err := db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM restarted"); err != nil || n < wrote || n > wrote+after {
		t.Errorf("got %d rows, %v, want from %d to %d", n, err, wrote, wrote+after)
	}
}

// A server that became read only, as after a failover, is left for a new connection,
// which a name or a balancer leads to the one that writes. Reads go on, a refused COMMIT
// is no unsure one, and nothing has to be restarted when it writes again.
func testReadOnlyServer(t *testing.T, server *testenv.MariaDB) {
	relay := testenv.NewRelay(t, server.Addr())
	db := opened(t, server.At(relay.Addr))
	write(t, db, "CREATE TABLE refused (id INT NOT NULL PRIMARY KEY)")
	err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
		_, err := tx.Exec("INSERT INTO refused VALUES (1)")
		if err == nil {
			server.Exec("SET GLOBAL read_only = 1")
		}
		return err
	})
	if !errors.Is(err, ErrAway) || errors.Is(err, ErrUnsure) {
		t.Errorf("a COMMIT that was refused: got %v, want ErrAway alone", err)
	}
	opened := relay.Opened()
	if opened != 1 {
		t.Fatalf("got %d connections, want one", opened)
	}
	for i := range 2 {
		if _, err := db.Write(t.Context(), "INSERT INTO refused VALUES (2)"); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("a write: got %v, want ErrAway that says read-only", err)
		}
		if got := relay.Opened(); got != opened+1+i {
			t.Errorf("got %d connections after %d refusals, want a new one after each", got, 1+i)
		}
	}
	var n int
	if err := db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM refused"); err != nil || n != 0 {
		t.Errorf("a read: got %d rows, %v, want none", n, err)
	}
	server.Exec("SET GLOBAL read_only = 0")
	write(t, db, "INSERT INTO refused VALUES (3)")
}

// A thousand callers that go away in the middle of a statement, of a transaction or of
// the wait for a connection cost no connection, on a server that answers in less than
// linger.
func TestAbortedCallers(t *testing.T) {
	t.Parallel()
	dsn, relay := relayed(t)
	db := opened(t, dsn)
	write(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)")
	var wait sync.WaitGroup
	for range conns {
		wait.Go(func() { db.GetContext(t.Context(), new(int), "SELECT SLEEP(0.05)") })
	}
	wait.Wait()
	before := relay.Opened()
	aborted := make(chan struct{}, 1000)
	for i := range 1000 {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
			defer cancel()
			var err error
			switch i % 3 {
			case 0:
				err = db.GetContext(ctx, new(int), "SELECT SLEEP(0.01)")
			case 1:
				_, err = db.Write(ctx, "INSERT INTO a VALUES (?, SLEEP(0.002))", i)
			default:
				err = db.Tx(ctx, func(tx *sqlx.Tx) error {
					for range 5 {
						if _, err := tx.ExecContext(ctx, "DO SLEEP(0.002)"); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err != nil {
				aborted <- struct{}{}
			}
		})
	}
	wait.Wait()
	if len(aborted) < 500 {
		t.Errorf("got %d of 1,000 callers aborted, want most", len(aborted))
	}
	if got := relay.Opened(); got != before {
		t.Errorf("got %d connections more, want none", got-before)
	}
}

// A transaction whose caller leaves before the commit has not happened, and that is sure.
func TestLeftBeforeCommit(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		db := opened(t, dsn)
		write(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY)")
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Tx(ctx, func(tx *sqlx.Tx) error {
			_, err := tx.Exec("INSERT INTO a VALUES (1)")
			cancel()
			return err
		})
		var n int
		if get := db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM a"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnsure) || n != 0 || get != nil {
			t.Errorf("got %v, %d rows, %v, want the context's end and no row", err, n, get)
		}
	})
}

// Who runs out of time between two statements hears that the database is away, like who
// does in the middle of one.
func TestLateBetweenStatements(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		db := opened(t, dsn)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := db.Tx(ctx, func(tx *sqlx.Tx) error {
			if _, err := tx.ExecContext(ctx, "SELECT 1"); err != nil {
				return err
			}
			<-ctx.Done()
			_, err := tx.ExecContext(ctx, "SELECT 1")
			return err
		})
		if !errors.Is(err, ErrAway) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnsure) {
			t.Errorf("got %v, want ErrAway and the end of the time", err)
		}
	})
}
