package line

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

//go:embed lua/*.lua
var sources embed.FS

// The scripts, sent by EVALSHA and loaded when the server answers that it does
// not have one: after a restart, a promotion, or the first time.
var (
	// Of operators, and reads.
	createScript = load("clock", "prelude", "close", "create")
	setScript    = load("clock", "prelude", "close", "set")
	deleteScript = load("clock", "prelude", "bury", "delete")
	expireScript = load("clock", "prelude", "bury", "expire")
	standsScript = load("clock", "prelude", "stands")
	lookScript   = load("clock", "prelude", "look")
	groupScript  = load("clock", "prelude", "group")
	// Of the fleet's processes: guarded.
	joinScript     = load("clock", "prelude", "presence", "guard", "join")
	rejoinScript   = load("clock", "prelude", "presence", "guard", "rejoin")
	presentScript  = load("clock", "prelude", "presence", "guard", "present")
	reapScript     = load("clock", "prelude", "presence", "guard", "reap")
	reportScript   = load("clock", "prelude", "guard", "report")
	admitScript    = load("clock", "prelude", "guard", "admit")
	claimScript    = load("clock", "prelude", "guard", "claim")
	leaveScript    = load("clock", "prelude", "guard", "leave")
	finishScript   = load("clock", "prelude", "guard", "finish")
	soldOutScript  = load("clock", "prelude", "guard", "sold_out")
	relayedScript  = load("clock", "prelude", "guard", "relayed")
	giveBackScript = load("clock", "prelude", "guard", "give_back")
	recreateScript = load("clock", "prelude", "guard", "recreate")
	// Of no room.
	signScript    = load("clock", "sign")
	signsScript   = load("clock", "signs")
	listScript    = load("list")
	closingScript = load("closing")

	errReply       = errors.New("unexpected reply of a script")
	errMissingConf = errors.New("conf is missing")
)

// load puts files behind each other. It panics on a name that is not embedded: the
// program can't have been built with it.
func load(names ...string) *redis.Script {
	var text strings.Builder
	for _, name := range names {
		text.WriteString(source(name))
	}
	return redis.NewScript(text.String())
}

// act runs a guarded script of a room: what all of them take, then args.
func (l *Lines) act(ctx context.Context, s *redis.Script, name room.Name, by room.Caller, args ...any) (reply, error) {
	return l.actOn(ctx, s, name, keysOf(name), by, args...)
}

// actOn is act for scripts that take more keys.
func (l *Lines) actOn(ctx context.Context, s *redis.Script, name room.Name, keys []string, by room.Caller, args ...any) (reply, error) {
	all := make([]any, 0, 4+len(args))
	all = append(all, string(by.Epoch), int64(by.Mark), l.now(), by.Process)
	return l.run(ctx, s, name, keys, append(all, args...)...)
}

func source(name string) string {
	text, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// refusals are what a script says when it does nothing.
var refusals = map[string]error{
	"absent":     errMissingConf,
	"epoch":      room.ErrEpoch,
	"recovering": room.ErrRecovering,
	"stale":      room.ErrStaleBatch,
	"closed":     room.ErrClosed,
	"sold_out":   room.ErrSoldOut,
	"busy":       room.ErrBusy,
	"full":       room.ErrTooManySigns,
	"unsure":     room.ErrUnsure,
}

// run runs a script and returns what follows 'ok'. A refusal and every error of
// the client come back as room's sentinels.
func (l *Lines) run(ctx context.Context, s *redis.Script, name room.Name, keys []string, args ...any) (reply, error) {
	values, err := s.Run(ctx, l.rdb, keys, args...).Slice()
	if err != nil {
		return reply{}, translate(err)
	}
	if len(values) == 0 {
		return reply{}, errReply
	}
	head, _ := values[0].(string)
	if head == "ok" {
		return newReply(values[1:]), nil
	}
	switch head { // what says more than its name
	case "exists": // create alone reads what is there
		return newReply(values[1:]), room.ErrExists
	case "state":
		is := newReply(values[1:])
		return reply{}, fmt.Errorf("%w: %s", room.ErrState, is.text(0))
	case "changed":
		is := newReply(values[1:])
		return reply{}, fmt.Errorf("%w: rev %s by %s", room.ErrChanged, is.text(0), is.text(1))
	case "stock":
		is := newReply(values[1:])
		return reply{}, fmt.Errorf("%w: the shop said so at stock_rev %s", room.ErrSoldOut, is.text(0))
	}
	err, known := refusals[head]
	switch {
	case !known:
		err = fmt.Errorf("%w: %q", errReply, head)
	case err == errMissingConf:
		err = l.missing(ctx, name)
	}
	return reply{}, err
}

// missing says what a room without conf is: nobody's when it is not listed, and
// one that lost its data when it is.
func (l *Lines) missing(ctx context.Context, name room.Name) error {
	listed, err := l.rdb.SIsMember(ctx, roomsKey(), string(name)).Result()
	if err != nil {
		return translate(err)
	}
	if listed {
		return room.ErrRecovering
	}
	return room.ErrUnknown
}

// The first words of a server's errors that mean: not now, ask again. A server that
// starts, follows another one, moves a slot or can't write to its disk says them.
var awayWords = []string{"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN",
	"MOVED", "ASK", "NOREPLICAS", "UNBLOCKED", "MISCONF", "EXECABORT"}

// fullServer has no first word of its own.
const fullServer = "ERR max number of clients reached"

// oddReplies begin what the client itself says of a reply that came whole and is
// not of the kind that was asked for, or of an argument that it can't send.
var oddReplies = []string{"redis: unexpected type", "redis: got ", "redis: can't marshal"}

// translate turns an error of the Redis client into room's: OOM is ErrMemory,
// out of reach or not now is ErrAway. A caller that gave up by itself gets its
// own context.Canceled. What is left is a room.Fault and stays as it is: a mistake
// of ours (WRONGTYPE, NOSCRIPT, an odd reply) or of a setting (NOAUTH, NOPERM),
// which must not pass for a server that will be back.
func translate(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var answer redis.Error
	if errors.As(err, &answer) {
		text := answer.Error()
		if strings.HasPrefix(text, "OOM") {
			return fmt.Errorf("%w: %w", room.ErrMemory, err)
		}
		word, _, _ := strings.Cut(text, " ")
		if slices.Contains(awayWords, word) || strings.HasPrefix(text, fullServer) {
			return fmt.Errorf("%w: %w", room.ErrAway, err)
		}
		return err
	}
	var number *strconv.NumError
	if errors.As(err, &number) || slices.ContainsFunc(oddReplies, func(odd string) bool { return strings.HasPrefix(err.Error(), odd) }) {
		return fmt.Errorf("%w: %w", errReply, err)
	}
	// What is no answer is the connection's: a timeout, its end, a full or closed
	// pool, a torn reply. Nothing was heard from the line.
	return fmt.Errorf("%w: %w", room.ErrAway, err)
}

// reply reads a script's answer by place. A value of another type is a fault of
// ours: it reads as zero, and bad says so once for all of them.
type reply struct {
	values []any
	wrong  *bool // shared with the lists inside
}

func newReply(values []any) reply { return reply{values: values, wrong: new(bool)} }

func (r reply) len() int { return len(r.values) }

func at[T any](r reply, i int) T {
	if i < len(r.values) {
		if v, ok := r.values[i].(T); ok {
			return v
		}
	}
	*r.wrong = true
	var zero T
	return zero
}

func (r reply) int(i int) int64   { return at[int64](r, i) }
func (r reply) text(i int) string { return at[string](r, i) }
func (r reply) list(i int) reply  { return reply{at[[]any](r, i), r.wrong} }

// fields reads field, value, … as HGETALL answers in a script.
func (r reply) fields() map[string]string {
	m := make(map[string]string, r.len()/2)
	for i := 0; i+1 < r.len(); i += 2 {
		m[r.text(i)] = r.text(i + 1)
	}
	return m
}

func (r reply) bad() error {
	if *r.wrong {
		return errReply
	}
	return nil
}
