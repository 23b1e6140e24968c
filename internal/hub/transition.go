package hub

import "waitroom/internal/room"

// standing is where a session stands, as its connections were told.
type standing = int32

const (
	waiting  standing = iota
	admitted          // told `admitted`: until its deadline the pass can be claimed
	inside            // told `pass`: until its deadline it opens the shop
	over              // told missed, spent, left, or why it was dismissed; or never had a place
	detached          // no connection is left; the roster has forgotten it
)

// event is what happens to a session.
type event uint8

const (
	isGone      event = iota // the line's answers
	isWaiting                //
	isUnclaimed              //
	isActive                 //
	isUnseen                 // the line lost it: nobody is told anything for that but the end of a pass
	isAway                   // its place was given up, since nobody saw it for the room's grace
	hasLeft                  // a leave of ours took effect
)

// eventOf is the event of an answer.
func eventOf(s room.Standing) event {
	return [...]event{room.Gone: isGone, room.Waiting: isWaiting, room.Unclaimed: isUnclaimed, room.Active: isActive, room.Unseen: isUnseen, room.Away: isAway}[s]
}

// saying is what a step has to say.
type saying uint8

const (
	silence saying = iota
	sayAdmitted
	sayPass
	sayMissed
	saySpent
	sayAway
	sayLeft
)

// audience is to whom.
type audience uint8

const (
	nobody audience = iota
	one             // the connection that came with the answer
	everyone
)

// step is what an event does to a session.
type step struct {
	to    standing
	say   saying
	whom  audience
	timed bool // the answer's deadline is the session's now
	anew  bool // what was told last counts no more: the next tick tells it all
	stale bool // the answer is older than what was told: the line is to be asked again
}

// circumstances are what else decides.
type circumstances struct {
	// asker is who hears it even when it is nothing new: nobody for a look-up, the one
	// connection that returned, everyone for a claim.
	asker audience
	// leaving: a leave is under way, whose own answer tells.
	leaving bool
	// lastCall: the line said within the last second of the claim that nobody had
	// claimed. Only then is a place that is gone a turn that was missed: otherwise
	// somebody may have claimed it on another node, and bought.
	lastCall bool
	// ended: the pass's time is over by this node's clock. The line may know less of it:
	// until then the shop honours it whatever the line has lost.
	ended bool
	// later: the line gives the claim more time than was told.
	later bool
}

// transition is how a session moves.
func transition(from standing, ev event, c circumstances) step {
	stay := step{to: from}
	// By a look-up at the end of the pass the visitor goes on where the line has it.
	ended := from == inside && c.ended && c.asker == nobody
	switch {
	case from == detached, ev == isUnseen && !ended:
		return stay
	case ev == hasLeft:
		return step{to: over, say: sayLeft, whom: everyone}
	case from == over && c.asker == nobody:
		return stay
	case from == over && ev == isAway:
		return step{to: over, say: sayAway, whom: c.asker}
	case from == over:
		return step{to: over, say: saySpent, whom: c.asker}
	}
	switch ev {
	case isUnseen: // the pass was used, and nobody brings it back
		return step{to: over, say: saySpent, whom: everyone}
	case isGone:
		switch {
		case c.leaving:
			return stay
		case from == admitted && c.lastCall:
			return step{to: over, say: sayMissed, whom: everyone}
		}
		return step{to: over, say: saySpent, whom: everyone}
	case isAway:
		// Also of who was told of a turn: the line lost the admission, and then nobody saw
		// the visitor wait.
		if c.leaving {
			return stay
		}
		return step{to: over, say: sayAway, whom: everyone}
	case isActive:
		if from != inside {
			c.asker = everyone
		}
		return step{to: inside, say: sayPass, whom: c.asker, timed: true}
	case isUnclaimed:
		switch {
		case from == inside && !ended:
			return step{to: inside, stale: c.asker != nobody}
		case from != admitted || c.later: // else the page's clock runs out before
			c.asker = everyone
		}
		return step{to: admitted, say: sayAdmitted, whom: c.asker, timed: true}
	case isWaiting:
		// Who asked may have been answered before the turn was told. A look-up was not:
		// the line lost the admission, and it will come again; who is inside keeps the pass
		// to its end.
		if from == inside && !ended || from == admitted && c.asker != nobody {
			return step{to: from, stale: c.asker != nobody}
		}
		return step{to: waiting, anew: true}
	}
	return stay
}
