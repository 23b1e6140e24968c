package seatmap

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlines notes the deadlines of writes.
type deadlines struct {
	*httptest.ResponseRecorder
	of []time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.of = append(d.of, at)
	return nil
}

// Who makes place has less time for its writes, and never more, however many want it.
func TestHurryGivesNoTime(t *testing.T) {
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	p := &pen{w: d, to: http.NewResponseController(d)}
	if err := p.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	p.by = time.Now().Add(byeLimit / 2) // the write has hung for most of its time
	p.hurry()
	p.hurry()
	if len(d.of) != 1 {
		t.Errorf("got deadlines %v after the write's own, want none", d.of[1:])
	}
	if err := p.write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	last := d.of[len(d.of)-1]
	if left := time.Until(last); left > byeLimit {
		t.Errorf("got %v for the bye, want %v at most", left, byeLimit)
	}
	p.hurry()
	if now := d.of[len(d.of)-1]; now.After(last) {
		t.Errorf("got %v more from another hurry, want none", now.Sub(last))
	}
}
