package hub

import (
	"context"
	"errors"
	"fmt"

	"waitroom/internal/room"
)

// farewellGive bounds what the end of a node waits for the line, to give back what it
// was joining: two calls that hang.
const farewellGive = 2 * readLimit

// unheard is a batch that the line may have joined without anybody hearing of it:
// its visitors were told that the line is away.
type unheard struct {
	lane  room.Lane
	epoch room.Epoch
}

// giveBack has the line take an unheard batch out again. Nobody of this room joins
// before it is answered, so there is one at most, however long the line is away. An
// error says that it is still to be done.
func (r *roomHub) giveBack(ctx context.Context) error {
	if !r.giving.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: a batch is being given back", room.ErrAway)
	}
	defer r.giving.Store(false)
	u := r.joins.gaveUp()
	if u == nil {
		return nil
	}
	_, err := r.hub.line.GiveBack(ctx, r.name, r.caller(u.epoch), u.lane, false)
	r.hub.failed(ctx, "give_back", err)
	if room.Retryable(err) || errors.Is(err, context.Canceled) || errors.Is(err, room.ErrRecovering) || errors.Is(err, room.ErrMemory) {
		return err
	}
	// Answered; or by a line that is another one now; or with a fault, which the log
	// names and which must not keep everybody from joining.
	r.joins.givenBack(u)
	return nil
}

// giveUp notes a batch to give back.
func (j *joins) giveUp(u *unheard) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unheard = u
}

// gaveUp is the batch to give back; nil: none.
func (j *joins) gaveUp() *unheard {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.unheard
}

func (j *joins) givenBack(u *unheard) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unheard == u {
		j.unheard = nil
	}
}

// giveBack asks once more in every room that has something to give back.
func (h *Hub) giveBack() {
	for _, r := range h.all() {
		if r.joins.gaveUp() == nil {
			continue
		}
		h.spawn(func() {
			ctx, cancel := context.WithTimeout(r.ctx, readLimit)
			defer cancel()
			_ = r.giveBack(ctx) // the next second asks again
		})
	}
}

// giveBackAtEnd is the last chance: what it does not reach, an admitter gives back
// once it finds that this process lives no more.
func (h *Hub) giveBackAtEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), farewellGive)
	defer cancel()
	for _, r := range h.all() {
		_ = r.giveBack(ctx)
	}
}
