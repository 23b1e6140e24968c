package booking

import (
	"testing"

	"waitroom/internal/token"
)

// A visit is a picture of one moment: a pass that holds, then leaves or buys, is never
// seen with nothing and yet not spent, as if it could begin anew.
func TestVisitIsOneMoment(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 1)
		for range 200 {
			p := newPass()
			mustHold(t, s, p, "A-1", noon)
			at(5, func(i int) {
				if i == 0 {
					if err := s.Leave(t.Context(), p, noon); err != nil {
						t.Errorf("leave: %v", err)
					}
					return
				}
				for range 5 {
					wantSense(t, s, p)
				}
			})
			if t.Failed() {
				return
			}
		}
	})
}

func wantSense(t *testing.T, s *Store, p token.Pass) {
	v, err := s.Visit(t.Context(), p)
	if err != nil || (!v.Spent && v.Hold == nil) || (v.Spent && v.Hold != nil) {
		t.Errorf("got %+v, %v, want a hold or a spent pass", v, err)
	}
}
