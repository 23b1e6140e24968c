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

// parts are the files in front of each script.
var parts = map[string][]string{
	"create":    {"clock", "prelude", "close"},
	"set":       {"clock", "prelude", "guard", "close"},
	"delete":    {"clock", "prelude", "guard", "bury"},
	"expire":    {"clock", "prelude", "guard", "bury"},
	"stands":    {"clock", "prelude"},
	"look":      {"clock", "prelude"},
	"group":     {"clock", "prelude"},
	"join":      {"clock", "prelude", "presence", "guard"},
	"rejoin":    {"clock", "prelude", "presence", "guard"},
	"present":   {"clock", "prelude", "presence", "guard"},
	"reap":      {"clock", "prelude", "presence", "guard"},
	"report":    {"clock", "prelude", "guard"},
	"admit":     {"clock", "prelude", "guard"},
	"claim":     {"clock", "prelude", "guard"},
	"leave":     {"clock", "prelude", "guard"},
	"finish":    {"clock", "prelude", "guard"},
	"stock":     {"clock", "prelude", "guard"},
	"relayed":   {"clock", "prelude", "guard"},
	"give_back": {"clock", "prelude", "presence", "guard"},
	"recreate":  {"clock", "prelude", "guard"},
	"sign":      {"clock"},
	"signs":     {"clock"},
	"list":      {},
	"closing":   {},
}

// The scripts, sent by EVALSHA and loaded when the server answers that it does
// not have one: after a restart, a promotion, or the first time.
var (
	createScript   = load("create")
	setScript      = load("set")
	deleteScript   = load("delete")
	expireScript   = load("expire")
	standsScript   = load("stands")
	lookScript     = load("look")
	groupScript    = load("group")
	joinScript     = load("join")
	rejoinScript   = load("rejoin")
	presentScript  = load("present")
	reapScript     = load("reap")
	reportScript   = load("report")
	admitScript    = load("admit")
	claimScript    = load("claim")
	leaveScript    = load("leave")
	finishScript   = load("finish")
	stockScript    = load("stock")
	relayedScript  = load("relayed")
	giveBackScript = load("give_back")
	recreateScript = load("recreate")
	signScript     = load("sign")
	signsScript    = load("signs")
	listScript     = load("list")
	closingScript  = load("closing")

	errReply       = errors.New("unexpected reply of a script")
	errMissingConf = errors.New("conf is missing")
)

func load(name string) *redis.Script { return redis.NewScript(whole(name)) }

// whole is a script behind its parts. It panics on a name that is not embedded: the
// program can't have been built with it.
func whole(name string) string {
	front, known := parts[name]
	if !known {
		panic("no script " + name)
	}
	var text strings.Builder
	for _, part := range front {
		text.WriteString(source(part))
	}
	return text.String() + source(name)
}

// act runs a guarded script of a room: what all of them take, then args.
func (l *Lines) act(ctx context.Context, s *redis.Script, name room.Name, by room.Caller, args ...any) (reply, error) {
	return l.actOn(ctx, s, name, keysOf(name), by, args...)
}

// outside is the caller of what is no process of the fleet: it gives no numbers, and
// means whichever line has the name.
var outside = room.Caller{Epoch: "*"}

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
	"deleted":    room.ErrDeleted,
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
