package line

import (
	"context"
	"fmt"

	"waitroom/internal/room"
)

// Join puts new visitors at the tail, room.MaxBatch at most. Each batch is sent
// under a lane and its next number, and sent again under the same number while
// its outcome is unknown; one that is older than the lane's last, or was given back,
// is ErrStaleBatch. Visitors beyond Granted met a full room. ErrRecovering passes
// within some seconds: Redis lost writes, and the line asks its processes for their
// marks. The same batch is sent again then.
func (l *Lines) Join(ctx context.Context, name room.Name, by room.Caller, lane room.Lane, visitors []room.VisitorID) (room.Joined, error) {
	if len(visitors) == 0 || len(visitors) > room.MaxBatch {
		return room.Joined{}, fmt.Errorf("join of %d visitors: want 1 to %d", len(visitors), room.MaxBatch)
	}
	args := make([]any, 0, 3+len(visitors))
	args = append(args, lane.Name, lane.Batch, int64(room.MaxNumber))
	for _, v := range visitors {
		args = append(args, string(v))
	}
	answer, err := l.actOn(ctx, joinScript, name, presenceKeysOf(name), by, args...)
	if err != nil {
		return room.Joined{}, err
	}
	joined := room.Joined{First: room.Number(answer.int(0)), Granted: int(answer.int(1)), Repeated: answer.int(2) == 1,
		WasEmpty: answer.int(3) == 1}
	if known := answer.list(4); known.len() > 0 {
		joined.Known = make([]room.Number, known.len())
		for i := range joined.Known {
			joined.Known[i] = room.Number(known.int(i))
		}
		if len(joined.Known) != joined.Granted {
			return room.Joined{}, fmt.Errorf("%w: %d numbers for %d visitors", errReply, known.len(), joined.Granted)
		}
	}
	return joined, answer.bad()
}
