package booking_test

import (
	"strings"
	"testing"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/testenv"
)

// Admissions that are known are read and not written: Kafka brings each of them again after
// a rebalance. Of a batch with some that are new, those alone are written.
func TestKnownAdmissionsAreNotWritten(t *testing.T) {
	p := newTap(t, testenv.MySQL(t))
	store, err := booking.NewStore(t.Context(), bookingtest.Open(t, p.dsn), bookingtest.Config.Rules())
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]events.Admitted, 500) // as Kafka brings them
	for i := range batch {
		batch[i] = events.Admitted{ID: bookingtest.Pass().Admission.String(), AdmittedAtUS: 5}
	}
	known, fresh := batch[:400], batch[400:]
	admit := func(batch []events.Admitted) {
		t.Helper()
		if err := store.Admit(t.Context(), batch, bookingtest.Noon); err != nil {
			t.Fatal(err)
		}
	}
	admit(known)

	p.turn(true)
	admit(known)
	for shape := range p.statements() {
		if !strings.HasPrefix(shape, "SELECT id FROM admissions") {
			t.Errorf("known ones: got %q, want them read and nothing else", shape)
		}
	}
	if len(p.statements()) == 0 {
		t.Error("known ones: they are not even read")
	}
	admit(batch)
	p.turn(false)
	inserts := 0
	for shape, statement := range p.statements() {
		if !strings.HasPrefix(shape, "INSERT") {
			continue
		}
		inserts++
		if rows := strings.Count(statement, "gig."); rows != len(fresh) || !strings.Contains(statement, fresh[0].ID) {
			t.Errorf("some are new: got %d rows written, want the %d new ones", rows, len(fresh))
		}
	}
	if inserts != 1 {
		t.Errorf("some are new: got %d kinds of inserts, want one", inserts)
	}
}
