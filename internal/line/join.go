package line

import (
	"context"
	"fmt"

	"waitroom/internal/room"
)

// Join puts new visitors at the tail, room.MaxBatch at most. Each batch is sent
// under a lane and its next number, and sent again under the same number while
// its outcome is unknown; a batch older than the lane's last is ErrStaleBatch.
// Visitors beyond Granted met a full room.
func (l *Lines) Join(ctx context.Context, name room.Name, by room.Caller, lane room.Lane, visitors []room.VisitorID) (room.Joined, error) {
	if len(visitors) == 0 || len(visitors) > room.MaxBatch {
		return room.Joined{}, fmt.Errorf("join of %d visitors: want 1 to %d", len(visitors), room.MaxBatch)
	}
	keys := []string{confKey(name), seqKey(name), queueKey(name), goneKey(name), statsKey(name), laneKey(name, lane.Name)}
	args := make([]any, 0, 6+len(visitors))
	args = append(args, string(by.Epoch), int64(by.Mark), l.now(), lane.Batch, int64(room.MaxNumber), laneLife.Milliseconds())
	for _, v := range visitors {
		args = append(args, string(v))
	}
	answer, err := l.run(ctx, joinScript, name, keys, args...)
	if err != nil {
		return room.Joined{}, err
	}
	joined := room.Joined{First: room.Number(answer.int(0)), Granted: int(answer.int(1)), Repeated: answer.int(2) == 1}
	return joined, answer.bad()
}
