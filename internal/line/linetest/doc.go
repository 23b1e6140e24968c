// Package linetest is the contract of the line as its callers rely on it: stories over
// the few methods that a node, an admitter and a follower of the rooms have of it. The
// line itself is held to them on every kind of server, and so is each fake that stands
// for it in a test: what a fake answers otherwise, a test of its users would believe.
//
// Only tests import it. It knows no Redis and no fake; whoever runs a part of it brings a
// stage: an empty room, and the hands of those who do something to it meanwhile.
package linetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"waitroom/internal/room"
)

// Hands are those of everybody who does something to the room of a stage, beside the
// caller whose part of the contract it is. They fail the test if they can't.
type Hands struct {
	Name room.Name
	Conf room.Conf // as the room was made

	// Pass lets time go by on the line's clock, and Now reads it.
	Pass func(time.Duration)
	Now  func() time.Time

	Set     func(room.Change) // by an operator
	SoldOut func()            // by the shop, which tells no revision of its stock
	Delete  func()            // by an operator, whoever waits
	Lose    func()            // Redis loses everything of the room, and that it was listed
	Unlist  func()            // Redis loses the list of rooms alone

	// Join is a node's: so many new visitors, at the tail.
	Join func(n int) []room.Place
	// Admit is an admitter's: the next n are let in. A stage begins with the credit for
	// a thousand.
	Admit func(n int)
	// Claim, Leave and Finish are what one visitor does through another node, or the shop.
	Claim, Leave, Finish func(room.Place)
	// Rejoin is a visitor who comes back through another node.
	Rejoin func(room.Place) room.Standing
}

// usual is a room that lets through whatever a story does not limit.
func usual() room.Conf {
	c := room.DefaultConf()
	c.Epoch, c.State = "aaaaaaaa", room.Open
	c.Rate, c.Burst, c.MaxActive, c.MaxWaiting = 1_000_000, 1_000, 100_000, 1_000_000
	return c
}

// stranger is a room of which nobody ever heard.
const stranger room.Name = "nobody-made-this-room"

// foreign is an epoch that no stage has.
const foreign room.Epoch = "zzzzzzzz"

func ids(n int) []room.VisitorID {
	all := make([]room.VisitorID, n)
	for i := range all {
		all[i] = room.NewVisitorID()
	}
	return all
}

func ptr[T any](v T) *T { return &v }

func background() context.Context { return context.Background() }

// want reports an error that is not the one wanted; nil wants none.
func want(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// must ends the test where nothing that follows would mean anything.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func standings(stands []room.Stand) []room.Standing {
	all := make([]room.Standing, len(stands))
	for i, s := range stands {
		all[i] = s.Standing
	}
	return all
}

// near says whether a duration is d, as far as the line counts in whole ms.
func near(got, d time.Duration) bool { return (got - d).Abs() < 2*time.Millisecond }

func numbersOf(places []room.Place) []room.Number {
	all := make([]room.Number, len(places))
	for i, p := range places {
		all[i] = p.Number
	}
	return all
}

func same(t *testing.T, what string, got, want []room.Standing) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got standings %v, want %v", what, got, want)
	}
}
