package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"waitroom/internal/testenv"
)

// steps are migrations of each kind: tables, of which several stand in one file as in
// the shop's first, columns and keys on tables that have rows.
func steps() fstest.MapFS {
	files := fstest.MapFS{}
	put := func(dialect, name, up string) {
		files[dialect+"/"+name] = &fstest.MapFile{Data: []byte("-- A comment; with a semicolon.\n\n-- +goose Up\n" + up + "\n\n-- +goose Down\nDROP TABLE a;\n")}
	}
	for _, d := range []string{"mysql", "sqlite"} {
		put(d, "00001_a.sql", "CREATE TABLE a (\n    id INT NOT NULL PRIMARY KEY -- the one; of all\n);\n\nCREATE TABLE b (id INT NOT NULL, u INT NOT NULL);")
		put(d, "00002_c.sql", "CREATE TABLE c (id INT NOT NULL);")
	}
	put("mysql", "00003_columns.sql", "ALTER TABLE a ADD COLUMN n INT NOT NULL DEFAULT 7, ADD KEY a_n (n);")
	put("mysql", "00004_key.sql", "ALTER TABLE a DROP KEY a_n;")
	put("mysql", "00005_primary.sql", "ALTER TABLE b ADD PRIMARY KEY (id);")
	put("mysql", "00006_wider.sql", "ALTER TABLE c MODIFY id BIGINT NOT NULL;")
	put("mysql", "00007_second.sql", "ALTER TABLE b ADD KEY b_u (u);")
	put("sqlite", "00003_columns.sql", "ALTER TABLE a ADD COLUMN n INT NOT NULL DEFAULT 7;\nCREATE INDEX a_n ON a (n);")
	put("sqlite", "00004_key.sql", "DROP INDEX a_n;")
	put("sqlite", "00005_primary.sql", "CREATE UNIQUE INDEX b_id ON b (id);")
	put("sqlite", "00006_wider.sql", "CREATE TABLE d (id INT NOT NULL);")
	put("sqlite", "00007_second.sql", "CREATE INDEX b_u ON b (u);")
	return files
}

// ready fails when the database is not the one after all steps with its rows.
func ready(t *testing.T, db *DB, what string) {
	t.Helper()
	var done []int64
	if err := db.SelectContext(t.Context(), &done, "SELECT version_id FROM waitroom_migrations ORDER BY id"); err != nil || !slices.Equal(done, []int64{0, 1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("%s: got versions %v, %v, want 0 to 7, each once", what, done, err)
	}
	var n int
	if err := db.GetContext(t.Context(), &n, "SELECT n FROM a WHERE id = 1"); err != nil || n != 7 {
		t.Errorf("%s: got %d, %v, want the row of before with 7", what, n, err)
	}
	if _, err := db.Write(t.Context(), "INSERT INTO b VALUES (1, 1)"); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if _, err := db.Write(t.Context(), "INSERT INTO b VALUES (1, 2)"); !IsDuplicate(err) {
		t.Errorf("%s: got %v, want the primary key", what, err)
	}
}

// row gives the first table its row as soon as it is there.
func row(t *testing.T, db *DB) {
	t.Helper()
	_, err := db.Write(t.Context(), "INSERT INTO a (id) VALUES (1)")
	var none error
	if err != nil && !IsDuplicate(err) {
		if none = db.GetContext(t.Context(), new(int), "SELECT COUNT(*) FROM a"); none == nil {
			t.Fatal(err)
		}
	}
}

// A start whose connection ends before any one of the statements leaves a database that
// the next start brings to the end.
func testMigrateCut(t *testing.T, server *testenv.MariaDB) {
	const statements = 17 // two of the versions' table, eight of the files, their seven versions
	list, err := readMigrations(steps(), "mysql")
	if err != nil {
		t.Fatal(err)
	}
	for at := range statements + 1 {
		server.Exec("DROP DATABASE shop", "CREATE DATABASE shop")
		relay := testenv.NewRelay(t, server.Addr())
		db := opened(t, server.At(relay.Addr))
		count := 0
		err = migrateMySQL(t.Context(), db, list, func(string, time.Duration) {}, func(string) {
			if count == at {
				relay.Cut()
			}
			count++
		})
		if (err == nil) != (at == statements) {
			t.Fatalf("cut before statement %d: got %v after %d", at, err, count)
		}
		row(t, db)
		if err := Migrate(t.Context(), db, steps()); err != nil {
			t.Fatalf("cut before statement %d: again: %v", at, err)
		}
		row(t, db)
		ready(t, db, "cut")
	}
}

// A start that ends within any one of the migrations of SQLite leaves it undone or done.
func TestMigrateCutSQLite(t *testing.T) {
	for at := range 7 {
		db := opened(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
		ctx, cancel := context.WithCancel(t.Context())
		count := 0
		err := Migrate(ctx, db, steps(), func(_ string, running time.Duration) {
			if running == 0 {
				if count == at {
					cancel()
				}
				count++
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cut in migration %d: got %v", at, err)
		}
		row(t, db)
		if err := Migrate(t.Context(), db, steps()); err != nil {
			t.Fatalf("cut in migration %d: again: %v", at, err)
		}
		row(t, db)
		ready(t, db, "cut")
	}
}

// A database that goose has migrated goes on from there, and one that goose left half
// way through the first file, without its version, is brought to the end.
func TestMigrateAfterGoose(t *testing.T) {
	made := map[Dialect]string{
		MySQL:  "CREATE TABLE waitroom_migrations (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp datetime NULL default CURRENT_TIMESTAMP, PRIMARY KEY(id))",
		SQLite: "CREATE TABLE waitroom_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))",
	}
	tables := []string{"CREATE TABLE a (id INT NOT NULL PRIMARY KEY)", "INSERT INTO a VALUES (1)", "CREATE TABLE b (id INT NOT NULL, u INT NOT NULL)", "CREATE TABLE c (id INT NOT NULL)"}
	both(t, func(t *testing.T, dsn string) {
		db := opened(t, dsn)
		for _, s := range append([]string{made[db.Dialect], "INSERT INTO waitroom_migrations (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1)"}, tables...) {
			if _, err := db.Write(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		var ran []string
		if err := Migrate(t.Context(), db, steps(), func(name string, _ time.Duration) { ran = append(ran, name) }); err != nil {
			t.Fatal(err)
		}
		if want := []string{"00003_columns", "00004_key", "00005_primary", "00006_wider", "00007_second"}; !slices.Equal(ran, want) {
			t.Errorf("got %v told, want %v", ran, want)
		}
		ready(t, db, "after goose")
	})
	t.Run("half", func(t *testing.T) {
		db := opened(t, testenv.MySQL(t))
		for _, s := range append([]string{made[MySQL], "INSERT INTO waitroom_migrations (version_id, is_applied) VALUES (0, 1)"}, tables[:2]...) {
			if _, err := db.Write(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if err := Migrate(t.Context(), db, steps()); err != nil {
			t.Fatal(err)
		}
		ready(t, db, "half")
	})
}

// Processes that start at once migrate once.
func TestMigrateAtOnce(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		var wait sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			db := opened(t, dsn) // a pool of its own, as a process has
			wait.Go(func() {
				<-start
				if err := Migrate(t.Context(), db, steps()); err != nil {
					t.Errorf("migrate: %v", err)
				}
			})
		}
		close(start)
		wait.Wait()
		db := opened(t, dsn)
		row(t, db)
		ready(t, db, "at once")
	})
}

// Who finds another process at it says so, waits as long as its context, and goes on
// when the other has ended.
func TestMigrateWaits(t *testing.T) {
	db := opened(t, testenv.MySQL(t))
	pool := sql.OpenDB(db.patient)
	defer pool.Close()
	other, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := lock(t.Context(), other, func(string, time.Duration) { t.Error("the first one waits") }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Migrate(ctx, db, steps(), func(name string, _ time.Duration) {
		if name == "those of another process" {
			cancel()
		} else {
			t.Errorf("got %s begun, want a wait", name)
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: got %v, want the context's end", err)
	}
	err = Migrate(t.Context(), db, steps(), func(name string, _ time.Duration) {
		if name == "those of another process" {
			other.Raw(func(c any) error { return c.(interface{ Close() error }).Close() })
		}
	})
	if err != nil {
		t.Errorf("after the other: %v", err)
	}
}

func TestScript(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"-- +goose Up\nA (\n  x, -- why; so\n  y\n);\n\n-- then\nB;\n-- +goose Down\nC;\n", []string{"A (\nx,\ny\n)", "B"}},
		{"X;\n-- +goose Up\nA;", []string{"A"}},
		{"-- +goose Up\nA; B;", []string{"A; B"}},
		{"-- +goose Up\nA", nil},
		{"A;", nil},
		{"-- +goose Up\n-- +goose StatementBegin\nA;\n-- +goose StatementEnd\n", nil},
	} {
		got, err := statementsOf(c.text)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%q: got %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	for _, names := range [][]string{{}, {"first.sql"}, {"00001_a.sql", "0001_b.sql"}} {
		files := fstest.MapFS{}
		for _, n := range names {
			files["mysql/"+n] = &fstest.MapFile{Data: []byte("-- +goose Up\nA;\n")}
		}
		if got, err := readMigrations(files, "mysql"); err == nil {
			t.Errorf("files %v: got %v, want an error", names, got)
		}
	}
}
