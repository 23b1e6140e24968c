package signs

import (
	"fmt"
	"time"

	"waitroom/internal/room"
)

// lossShown is how long a loss that is over is shown to people: whoever is called
// because of one looks within the hour.
const lossShown = time.Hour

// spare is how many numbers at least a line sets aside when a process that was alive
// before a loss could not be asked: unseen_least of its scripts.
const spare = 65_536

// Loss is what a line lost last, for people who look.
type Loss struct {
	life room.Life
	now  time.Time
}

// LossOf is that of a line's life; false: nothing was ever noticed. now is the line's
// clock.
func LossOf(life room.Life, now time.Time) (Loss, bool) {
	return Loss{life, now}, !life.LostAt.IsZero()
}

// UnderWay says that places are being brought back.
func (l Loss) UnderWay() bool { return l.life.Asking || l.held() }

// Recent says that it is worth a line of a status.
func (l Loss) Recent() bool { return l.UnderWay() || l.now.Sub(l.life.LostAt) < lossShown }

// held says that nobody behind the loss is admitted yet.
func (l Loss) held() bool { return l.life.HoldUntil.After(l.now) }

// Label names the kind of loss that it is.
func (l Loss) Label() string {
	switch {
	case l.UnderWay():
		return "recovering"
	case l.life.Lost == 0:
		return "last check" // Redis began anew, and had it all
	}
	return "last loss"
}

// String says when it was noticed, what was lost, what is back, and when admission
// goes on.
func (l Loss) String() string {
	text := At(l.life.LostAt, l.now) + ": "
	switch {
	case l.life.Asking:
		text += "nobody gets a number until the processes have told what they know, 3 s at most"
		if l.life.Lost > 0 {
			text += "; " + l.places()
		}
	case !l.UnderWay() && l.life.Lost == 0:
		text += "Redis had begun anew, no place was unknown to it"
	default:
		text += l.places()
	}
	if l.held() {
		text += "; admission goes on behind them at " + At(l.life.HoldUntil, l.now)
	}
	if l.life.Fences > 1 {
		text += fmt.Sprintf("; %d times so far", l.life.Fences)
	}
	return text
}

// places counts what was lost. Numbers that were set aside for fear are nobody's as
// a rule, and must not be read as that many people.
func (l Loss) places() string {
	text := fmt.Sprintf("%s unknown, %d back", count(int(l.life.Lost), "place", "places"), l.life.Restored)
	if l.life.Lost >= spare {
		text += fmt.Sprintf(" (%d or more may be spare numbers that nobody has: not every process could be asked)", spare)
	}
	return text
}
