package hub

import (
	"context"
	"sync"
	"time"

	"waitroom/internal/room"
)

// lineClaims is the fake with the line's word on a claim of a place that it does not
// know: an error beside the standing, never the standing alone.
type lineClaims struct{ *fakeLine }

func (l lineClaims) Claim(ctx context.Context, name room.Name, by room.Caller, p room.Place) (room.Stand, error) {
	s, err := l.fakeLine.Claim(ctx, name, by, p)
	if err == nil && s.Standing == room.Unseen {
		err = room.ErrRecovering
	}
	return s, err
}

// slowStands holds back the first answer to a look-up.
type slowStands struct {
	*fakeLine
	once   sync.Once
	ask    chan struct{} // closed when the first look-up has its answer
	answer chan struct{} // the test closes it to let that through
}

func (s *slowStands) Stands(ctx context.Context, name room.Name, places []room.Place) ([]room.Stand, error) {
	stands, err := s.fakeLine.Stands(ctx, name, places)
	s.once.Do(func() {
		close(s.ask)
		<-s.answer
	})
	return stands, err
}

// slowStones takes its time to find a tombstone.
type slowStones struct{ *fakeLine }

func (s slowStones) Deleted(ctx context.Context, name room.Name) (bool, error) {
	time.Sleep(PositionTick / 2)
	return s.fakeLine.Deleted(ctx, name)
}
