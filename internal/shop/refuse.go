package shop

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/wire"
)

// coded is a refusal that has no sentinel, since it is HTTP's own.
type coded struct{ wire.Code }

func (c coded) Error() string { return string(c.Code) }

// refuse answers with the row of wire's table, and says which; "" when the visitor has
// gone, whose end is no fault: it is answered all the same, since who has closed one half
// of a connection may read the other. What the table does not know is logged each time,
// since it is ours to mend; limits and servers that do not answer once in a while.
func (s *Shop) refuse(v *visit, err error) wire.Code {
	code, retry := s.code(err)
	counted := code
	if status := wire.Codes[code].HTTP; status >= http.StatusInternalServerError && v.r.Context().Err() != nil {
		counted = ""
		s.refused.WithLabelValues(gone).Inc()
	} else {
		s.refused.WithLabelValues(string(code)).Inc()
		s.tell(v, status, err)
	}
	switch wire.Codes[code].HTTP {
	case http.StatusServiceUnavailable:
		retry = seconds(time.Second)
	case http.StatusUnauthorized:
		v.w.Header().Set("WWW-Authenticate", `Bearer realm="waitroom"`) // RFC 9110, 15.5.2
	}
	var seats []seat.ID
	var taken *seat.TakenError
	if errors.As(err, &taken) {
		seats = taken.Seats
	}
	v.end()
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(answerLimit)) // a recorder of a test has none
	wire.WriteProblem(v.w, code, retry, seats...)
	return counted
}

// tell logs what an operator may have to act on.
func (s *Shop) tell(v *visit, status int, err error) {
	switch status {
	case http.StatusInternalServerError:
		s.parts.Log.Error("request failed", zap.Error(err))
	case http.StatusServiceUnavailable:
		s.trouble.Note(v.r.Context(), err)
	case http.StatusTooManyRequests:
		s.limits.told.Note(v.r.Context(), err)
	}
}

// code is the word for an error, and after how many seconds to come back; 0: not known.
func (s *Shop) code(err error) (code wire.Code, retry int) {
	var (
		own coded
		out *limited
	)
	switch {
	case errors.As(err, &own):
		return own.Code, 0
	case errors.As(err, &out):
		return out.code, seconds(out.retry)
	case errors.Is(err, errCrowd), errors.Is(err, errPatience):
		return wire.Overloaded, 0
	}
	return wire.PassCode(outward(err)), 0
}

// outward puts the shop's own word before what its database says of itself, for
// the table of codes, which knows no driver.
func outward(err error) error {
	if errors.Is(err, sqldb.ErrAway) || errors.Is(err, sqldb.ErrUnsure) {
		return fmt.Errorf("%w: %w", seat.ErrAway, err)
	}
	return err
}
