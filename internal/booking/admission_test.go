package booking

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

// batchOf are admissions that nobody has heard of.
func batchOf(count int) (batch []events.Admitted) {
	for range count {
		batch = append(batch, events.Admitted{ID: newPass().Admission.String(), AdmittedAtUS: 5})
	}
	return batch
}

// locked runs act while somebody who does not end holds locks.
func locked(t *testing.T, db *sqldb.DB, statements func(*sqlx.Tx), act func()) {
	t.Helper()
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	statements(tx)
	act()
}

// Somebody who vanished holds the row of one admission that is known and of one that
// is not. The others of the batch are recorded all the same, the known one is done, and
// only the third comes again.
func TestAdmitBesideALock(t *testing.T) {
	dsn := testenv.MySQL(t)
	s := newStore(t, dsn, 1)
	batch := batchOf(60)
	known, unknown := batch[7], batch[30]
	if err := s.Admit(t.Context(), []events.Admitted{known}, noon); err != nil {
		t.Fatal(err)
	}
	other := openDB(t, dsn)
	locked(t, other, func(tx *sqlx.Tx) {
		tx.MustExecContext(t.Context(), "UPDATE admissions SET hold = 'x' WHERE id = ?", known.ID)
		tx.MustExecContext(t.Context(), "INSERT INTO admissions VALUES (?, 0, 0, '', '', 0)", unknown.ID)
	}, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // one wait of the session's own is 5 s
		defer cancel()
		err := s.Admit(ctx, batch, noon)
		if left := events.Left(err, len(batch)); !slices.Equal(left, []int{30}) || !errors.Is(err, sqldb.ErrAway) {
			t.Errorf("got %v left, %v, want the admission that somebody else is recording", left, err)
		}
		if n := admissions(t, s, "admitted_at_us = 5"); n != len(batch)-1 {
			t.Errorf("got %d rows, want %d", n, len(batch)-1)
		}
	})
	if err := s.Admit(t.Context(), batch[30:31], noon); err != nil || admissions(t, s, "admitted_at_us = 5") != len(batch) {
		t.Errorf("the lock is gone: got %v, want the last one recorded", err)
	}
	var wait int
	if err := s.db.GetContext(t.Context(), &wait, "SELECT @@innodb_lock_wait_timeout"); err != nil || wait < 2 {
		t.Errorf("got %d s of patience, %v, want the session's own put back", wait, err)
	}
}

func admissions(t *testing.T, s *Store, where string) (n int) {
	t.Helper()
	if err := s.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM admissions WHERE "+where); err != nil {
		t.Fatal(err)
	}
	return n
}

// Prints how many admissions one partition's batches record: fresh, known, mixed.
func BenchmarkAdmit(b *testing.B) {
	const rows = 500
	for name, dsn := range map[string]func() string{"mysql": func() string { return testenv.MySQL(b) }, "sqlite": func() string { return "sqlite:" + b.TempDir() + "/shop.db" }} {
		b.Run(name, func(b *testing.B) {
			db, err := sqldb.Open(b.Context(), dsn())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close() })
			s, err := NewStore(b.Context(), db, rules)
			if err != nil {
				b.Fatal(err)
			}
			known := batchOf(rows)
			for _, kind := range []string{"fresh", "known", "one known"} {
				b.Run(kind, func(b *testing.B) {
					for b.Loop() {
						batch := known
						if kind != "known" {
							b.StopTimer()
							batch = batchOf(rows)
							b.StartTimer()
						}
						if kind == "one known" {
							batch[0] = known[0]
						}
						if err := s.Admit(b.Context(), batch, noon); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "admissions/s")
				})
				if kind == "fresh" {
					if err := s.Admit(b.Context(), known, noon); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
