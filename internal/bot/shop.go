package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/wire"
)

const (
	// One call is tried this often: with full jitter below 2 s about 17 s in all,
	// enough for a booker to be restarted. Then the shop is out of reach.
	callsAtMost = 20
	callWithin  = 10 * time.Second
	callBackoff = 250 * time.Millisecond
	callMost    = 2 * time.Second
	// afterMost bounds what Retry-After may ask for: the shop says some seconds.
	afterMost = 30 * time.Second

	// looking is how long somebody waits at most before looking at a map again
	// on which no seat is free.
	looking = 2 * time.Second

	// declinedAtMost is how often a payment is tried.
	declinedAtMost = 3

	// maxAnswer bounds an answer: the map of 100,000 seats has about 4 MB.
	maxAnswer = 16 << 20
)

var errShop = errors.New("shop is out of reach")

// shopping is the time with one pass.
type shopping struct {
	v       *visitor
	bases   []string
	base    int
	pass    string
	expires time.Time
	changes bool // will release its first hold
	leaves  bool
	vanish  bool
	taken   int // in a row
}

// shop looks for seats until something is booked, sold out or given up, or the
// pass has expired: then end is "" and the line is the way back.
func (v *visitor) shop(ctx context.Context, pass wire.PassMessage) (End, error) {
	s := &shopping{
		v: v, bases: v.config.Shops, pass: pass.Pass,
		expires: time.Now().Add(time.Duration(pass.ExpiresMS) * time.Millisecond),
		changes: v.chance(v.config.Plan.Change), leaves: v.chance(v.config.Plan.LeaveShop), vanish: v.chance(v.config.Plan.Vanish),
	}
	if len(s.bases) == 0 {
		base, ok := strings.CutSuffix(pass.URL, "/rooms/"+string(v.config.Room)+"/shop")
		if !ok {
			return Failed, fmt.Errorf("no shop given, and %q is no seat page of a booker", pass.URL)
		}
		if base == "" || base[0] == '/' { // a path, for a browser to complete: where the waiting page came from
			scheme, rest, _ := strings.Cut(v.config.Nodes[v.node%len(v.config.Nodes)], "://")
			host, _, _ := strings.Cut(rest, "/")
			base = scheme + "://" + host + base
		}
		s.bases = []string{base}
	}
	s.base = v.rand.IntN(len(s.bases))
	end, err := s.run(ctx)
	if ctx.Err() != nil && end != Booked {
		return Stopped, ctx.Err()
	}
	return end, err
}

func (s *shopping) run(ctx context.Context) (End, error) {
	declined := 0
	for time.Now().Before(s.expires) {
		if !sleep(ctx, s.v.think(time.Until(s.expires))) {
			return Stopped, ctx.Err()
		}
		hold, end, err := s.hold(ctx)
		if end != "" || err != nil {
			return s.ended(ctx, end, err)
		}
		if hold.ID == "" {
			continue // nothing free, or others were faster
		}
		s.v.log("holds %v", hold.Seats)
		if !sleep(ctx, s.v.think(time.Duration(hold.LeftMS)*time.Millisecond)) {
			return Stopped, ctx.Err()
		}
		switch {
		case s.vanish:
			s.v.log("is never heard of again")
			return Left, nil
		case s.leaves:
			return s.leave(ctx, Left)
		case s.changes:
			s.changes = false
			if err := s.call(ctx, http.MethodDelete, "/holds/"+string(hold.ID), nil, nil); err != nil && !ended(err) {
				return s.ended(ctx, "", err)
			}
			continue
		}
		var booking bookingAnswer
		err = s.call(ctx, http.MethodPost, "/holds/"+string(hold.ID)+"/confirm", nil, &booking)
		switch {
		case err == nil:
			s.v.out.Seats = booking.Seats
			return Booked, nil
		case told(err, wire.Declined):
			if declined++; declined == declinedAtMost {
				return s.leave(ctx, Left)
			}
		case ended(err):
			s.v.log("lost its hold: %v", err)
		default:
			return s.ended(ctx, "", err)
		}
	}
	return "", nil
}

// ended reports whether a hold is no more.
func ended(err error) bool { return told(err, wire.HoldEnded) || told(err, wire.HoldUnknown) }

func told(err error, code wire.Code) bool {
	var e codeError
	return errors.As(err, &e) && e.code == code
}

// ended makes an end of an error: some codes are no failures.
func (s *shopping) ended(ctx context.Context, end End, err error) (End, error) {
	switch {
	case end == SoldOut, told(err, wire.SoldOut):
		return s.leave(ctx, SoldOut)
	case end != "":
		return end, err
	case told(err, wire.PassExpired):
		return "", nil
	case told(err, wire.PassSpent):
		// By an own call whose answer was lost: the shop remembers what became of it.
		visit, err := s.visit(ctx)
		if err != nil {
			return Failed, err
		}
		if visit.Booking == nil {
			return Failed, codeError{wire.PassSpent}
		}
		s.v.out.Seats = visit.Booking.Seats
		return Booked, nil
	}
	return Failed, err
}

// leave gives the pass back, so that the slot is the next visitor's.
func (s *shopping) leave(ctx context.Context, end End) (End, error) {
	err := s.call(ctx, http.MethodDelete, "/pass", nil, nil)
	if err != nil && !told(err, wire.PassSpent) && !told(err, wire.PassExpired) {
		return Failed, err
	}
	return end, nil
}

type holdAnswer struct {
	ID     seat.HoldID `json:"id"`
	Seats  []seat.ID   `json:"seats"`
	LeftMS int64       `json:"left_ms"`
}

type bookingAnswer struct {
	Seats []seat.ID `json:"seats"`
}

type visitAnswer struct {
	Hold    *holdAnswer    `json:"hold"`
	Booking *bookingAnswer `json:"booking"`
	Spent   bool           `json:"spent"`
}

func (s *shopping) visit(ctx context.Context) (visit visitAnswer, err error) {
	err = s.call(ctx, http.MethodGet, "/pass", nil, &visit)
	return visit, err
}

// hold looks at the map and tries some free seats. A hold without id says that
// there is nothing yet and that it has waited a little.
func (s *shopping) hold(ctx context.Context) (hold holdAnswer, end End, err error) {
	var seats struct {
		Seats []seat.Seat `json:"seats"`
	}
	if err := s.call(ctx, http.MethodGet, "/seats", nil, &seats); err != nil {
		return hold, "", err
	}
	var free []seat.ID
	booked := 0
	for _, one := range seats.Seats {
		switch one.State {
		case seat.Free:
			free = append(free, one.ID)
		case seat.Booked:
			booked++
		}
	}
	if len(free) == 0 {
		if booked == len(seats.Seats) {
			return hold, SoldOut, nil
		}
		sleep(ctx, s.v.within(min(looking, s.v.config.BackoffMax)))
		return hold, "", nil
	}
	ask := s.choose(free)
	err = s.call(ctx, http.MethodPost, "/holds", map[string]any{"seats": ask}, &hold)
	switch {
	case told(err, wire.SeatTaken):
		s.v.out.Taken++
		s.taken++
		// Others are at the same seats: somewhat later there is less of a crowd.
		sleep(ctx, s.v.within(ceiling(5*time.Millisecond, callBackoff, s.taken)))
		return holdAnswer{}, "", nil
	case told(err, wire.HoldOpen):
		// By an own call whose answer was lost.
		visit, err := s.visit(ctx)
		if err == nil && visit.Hold != nil {
			hold = *visit.Hold
		}
		return hold, "", err
	}
	s.taken = 0
	return hold, "", err
}

// choose takes 1 to MaxSeats seats beside each other, from a random one on; only
// one after several refusals, as somebody who wants to come to an end.
func (s *shopping) choose(free []seat.ID) []seat.ID {
	n := min(len(free), 1+s.v.rand.IntN(s.v.config.Plan.MaxSeats))
	if s.taken >= 3 {
		n = 1
	}
	from := s.v.rand.IntN(len(free) - n + 1)
	return free[from : from+n]
}

// call asks the shop, from another booker each time it has to ask again. Every
// call of the protocol may be repeated. An answer with a code is a codeError.
func (s *shopping) call(ctx context.Context, method, path string, body, into any) (err error) {
	var b []byte
	if body != nil {
		b, _ = json.Marshal(body) // strings only
	}
	var after time.Duration // the shop's own word when to come back
	for attempt := range callsAtMost {
		if attempt > 0 {
			s.base++
			s.v.out.Retries++
			if !sleep(ctx, after+s.v.within(ceiling(callBackoff, callMost, attempt))) {
				return ctx.Err()
			}
		}
		var again bool
		again, after, err = s.once(ctx, method, path, b, into)
		if !again || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s %s: %w", errShop, method, path, err)
}

// once makes one call. again says that it may be made again, no sooner than after.
func (s *shopping) once(ctx context.Context, method, path string, body []byte, into any) (again bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	url := strings.TrimSuffix(s.bases[s.base%len(s.bases)], "/") + "/rooms/" + string(s.v.config.Room) + path
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+s.pass)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := s.v.http.Do(r)
	if err != nil {
		return true, 0, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return true, 0, err
	}
	status := answer.StatusCode
	if status >= 200 && status < 300 {
		if into == nil {
			return false, 0, nil
		}
		if err := json.Unmarshal(b, into); err != nil {
			return false, 0, fmt.Errorf("%s %s answered %d: %w", method, path, status, err)
		}
		return false, 0, nil
	}
	again = status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		after = min(time.Duration(seconds)*time.Second, afterMost)
	}
	var problem wire.Problem
	if err := json.Unmarshal(b, &problem); err != nil || problem.Code == "" {
		return status >= 500, after, fmt.Errorf("%s %s answered %d without a code", method, path, status)
	}
	return again, after, codeError{problem.Code}
}
