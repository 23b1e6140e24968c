package line

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"waitroom/internal/room"
)

// Sign writes a process's sign of life, dated by the clock of Redis. It is one
// command for all of the process's rooms: about 2 KB with ten of them, 170 KB with
// 1,000, 320 KB when each admits and has the longest name.
func (l *Lines) Sign(ctx context.Context, sign room.Sign) error {
	body, err := json.Marshal(sign)
	if err != nil {
		return err
	}
	_, err = l.run(ctx, signScript, "", []string{signsKey()},
		l.now(), sign.ID, body, room.SignKept.Milliseconds(), room.MaxSigns)
	return err
}

// Signs returns the last sign of each process that signed within room.SignKept,
// by role, host and process, and the line's time. One that can't be read, or that
// lost its date, is a newer version's or a stranger's and is left out.
func (l *Lines) Signs(ctx context.Context) (now time.Time, signs []room.Sign, err error) {
	answer, err := l.run(ctx, signsScript, "", []string{signsKey()}, l.now())
	if err != nil {
		return time.Time{}, nil, err
	}
	now = micros(answer.int(0))
	fields := answer.list(1).fields()
	if err := answer.bad(); err != nil {
		return time.Time{}, nil, err
	}
	for id, body := range fields {
		us, err := strconv.ParseInt(fields["at:"+id], 10, 64)
		sign := room.Sign{ID: id, At: micros(us)}
		if err != nil || now.Sub(sign.At) > room.SignKept || json.Unmarshal([]byte(body), &sign) != nil {
			continue
		}
		signs = append(signs, sign)
	}
	slices.SortFunc(signs, func(a, b room.Sign) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID), cmp.Compare(a.ID, b.ID))
	})
	return now, signs, nil
}
