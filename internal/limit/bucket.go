package limit

import "time"

// pace is how fast a bucket fills, and how much it holds. The zero value has no
// limit.
type pace struct {
	step  time.Duration // one token
	depth time.Duration // all that fit
}

func newPace(perSecond, burst int) pace {
	if perSecond == 0 {
		return pace{}
	}
	step := time.Second / time.Duration(perSecond)
	return pace{step, step * time.Duration(burst)}
}

// bucket is a token bucket in one number: the time when it is full again, in the
// limiter's clock (GCRA, ITU-T I.371). What is not after now is full, so the zero
// value is.
type bucket time.Duration

func (b bucket) full(now time.Duration) bool { return time.Duration(b) <= now }

// giveBack puts back a token that was taken.
func (b *bucket) giveBack(p pace) { *b -= bucket(p.step) }

// take takes a token and returns 0, or takes nothing and returns how long until
// there is one.
func (b *bucket) take(p pace, now time.Duration) time.Duration {
	if p.step == 0 {
		return 0
	}
	full := max(time.Duration(*b), now) + p.step
	if wait := full - p.depth - now; wait > 0 {
		return wait
	}
	*b = bucket(full)
	return 0
}
