package signs

import (
	"cmp"
	"slices"
	"time"

	"waitroom/internal/room"
)

// Fleet is every process that signed lately.
type Fleet struct {
	Now   time.Time // the line's clock
	Signs []room.Sign
}

// Ago is how old a process's last sign is.
func (f Fleet) Ago(s room.Sign) time.Duration { return max(0, f.Now.Sub(s.At)) }

// Alive says whether a process has signed within room.SignAlive and not stopped.
func (f Fleet) Alive(s room.Sign) bool { return !s.Stopped && f.Ago(s) <= room.SignAlive }

// Of returns the processes of a role, the living first.
func (f Fleet) Of(role room.Role) (alive, silent []room.Sign) {
	for _, s := range f.Signs {
		switch {
		case s.Role != role:
		case f.Alive(s):
			alive = append(alive, s)
		default:
			silent = append(silent, s)
		}
	}
	slices.SortStableFunc(silent, func(a, b room.Sign) int { return b.At.Compare(a.At) })
	return alive, silent
}

// about is what one process says of one room.
type about struct {
	room.RoomSign
	by room.Sign
}

// since is when the cause began, on the line's clock.
func (a about) since() time.Time { return a.by.At.Add(-time.Duration(a.CauseMS) * time.Millisecond) }

// round is how long ago the last round came about; false when none did.
func (a about) round(now time.Time) (time.Duration, bool) {
	return max(0, now.Sub(a.by.At)) + time.Duration(a.RoundMS)*time.Millisecond, a.RoundMS >= 0
}

// rounds are what living admitters say of a room, the latest round first. Another
// epoch's are another line's; one that has not read its epoch yet has none.
func (f Fleet) rounds(name room.Name, epoch room.Epoch) (all []about) {
	alive, _ := f.Of(room.RoleAdmitter)
	for _, s := range alive {
		for _, r := range s.Rooms {
			if r.Room == name && (r.Epoch == epoch || r.Epoch == "") {
				all = append(all, about{r, s})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b about) int {
		x, did := a.round(f.Now)
		y, didToo := b.round(f.Now)
		if did != didToo {
			if did {
				return -1
			}
			return 1
		}
		return cmp.Compare(x, y)
	})
	return all
}

// Lately is how many were admitted in the last minute, or since the oldest moment
// within it of which anybody knows: Over is how long that is. It is the line's own
// count now, less what it was then: the signs of all admitters, the silent ones
// included, carry what the count was, so it holds over restarts.
func (f Fleet) Lately(status room.Status) (admitted int64, over time.Duration) {
	type point struct {
		at    time.Time
		total int64
	}
	now := point{f.Now, status.Stats.Admitted}
	points := []point{now}
	for _, s := range f.Signs {
		if s.Role != room.RoleAdmitter {
			continue
		}
		for _, r := range s.Rooms {
			if r.Room != status.Name || r.Epoch != status.Conf.Epoch {
				continue
			}
			for _, past := range r.Past {
				if past[1] <= now.total { // more than now: Redis has lost writes since
					points = append(points, point{s.At.Add(-time.Duration(past[0]) * time.Millisecond), past[1]})
				}
			}
		}
	}
	slices.SortFunc(points, func(a, b point) int { return a.at.Compare(b.at) })
	from := f.Now.Add(-time.Minute)
	i := slices.IndexFunc(points, func(p point) bool { return p.at.After(from) })
	switch {
	case i < 0: // its clock went back; nothing lies after
		return 0, time.Minute
	case i == 0:
		return now.total - points[0].total, f.Now.Sub(points[0].at)
	}
	// Between two counts the line is taken to have admitted evenly.
	a, b := points[i-1], points[i]
	share := float64(from.Sub(a.at)) / float64(b.at.Sub(a.at))
	then := a.total + int64(share*float64(b.total-a.total))
	return now.total - then, time.Minute
}

// inside is how long a slot is taken on average, as an admitter measured it
// lately; false when none could yet.
func (f Fleet) inside(status room.Status) (time.Duration, bool) {
	var longest about
	for _, a := range f.rounds(status.Name, status.Conf.Epoch) {
		if a.InsideMS > 0 && a.by.UpMS >= longest.by.UpMS {
			longest = a // it has looked for longest
		}
	}
	return time.Duration(longest.InsideMS) * time.Millisecond, longest.InsideMS > 0
}

// Pace is what a room's cap and rate allow, per second.
type Pace struct {
	Rate     float64       // that is set
	Inside   time.Duration // how long a slot is taken
	Measured bool          // false: not known yet, and Inside is the longest it can be
	Cap      float64       // max_active ÷ Inside: what the cap allows over time, by Little's law
}

// Pace compares a room's cap with its rate. While nobody knows how long visitors
// stay inside, the longest stay tells the least that the cap allows: a claim at
// the last moment and a pass used to its end.
func (f Fleet) Pace(status room.Status) Pace {
	c := status.Conf
	p := Pace{Rate: float64(c.Rate) / 1000}
	if p.Inside, p.Measured = f.inside(status); !p.Measured {
		p.Inside = c.Claim + c.Pass
	}
	if p.Inside > 0 {
		p.Cap = float64(c.MaxActive) / p.Inside.Seconds()
	}
	return p
}
