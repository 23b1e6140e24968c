package line

import (
	"context"

	"waitroom/internal/room"
)

// Stock says how many seats of this epoch's sale are left. None left sells the room out;
// some left end that, and nothing else that an operator set. What is not newer than what
// the line knows of the stock changes nothing, and newer is false: a repeat, a fact that
// comes late, one from before an operator's reopening. A shop that does not count its
// stock says that it is sold out with revision 0, and is believed, unless the line heard
// a revision of the same moment or later.
//
// ErrEpoch: the fact is of another sale. ErrRecovering: the line lost writes in the last
// three seconds, and an act may have been among them that is on its way back.
func (l *Lines) Stock(ctx context.Context, name room.Name, epoch room.Epoch, stock room.Stock) (newer bool, err error) {
	if err := stock.Valid(); err != nil {
		return false, err
	}
	at := max(0, stock.At.UnixMilli()) // the zero time is far below
	answer, err := l.act(ctx, stockScript, name, room.Caller{Epoch: epoch}, "booker", room.MaxActs, stock.Rev, stock.Left, at)
	if err != nil {
		return false, err
	}
	newer = answer.int(0) == 1
	return newer, answer.bad()
}
