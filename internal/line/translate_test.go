package line

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// says is what a server answers with.
type says string

func (s says) Error() string { return string(s) }
func (says) RedisError()     {}

// What the client says becomes a word of room: away may be tried again, a fault is
// nobody's to hide behind a retry.
func TestTranslate(t *testing.T) {
	_, noNumber := strconv.ParseInt("x", 10, 64)
	for _, c := range []struct {
		err  error
		want string // away, memory, cancelled, or fault
	}{
		{says("LOADING Redis is loading the dataset in memory"), "away"},
		{says("BUSY Redis is busy running a script"), "away"},
		{says("MASTERDOWN Link with MASTER is down"), "away"},
		{says("READONLY You can't write against a read only replica. script: 1, on @user_script:1."), "away"},
		{says("CLUSTERDOWN The cluster is down"), "away"},
		{says("TRYAGAIN Multiple keys request during rehashing of slot"), "away"},
		{says("MOVED 3999 127.0.0.1:6381"), "away"},
		{says("ASK 3999 127.0.0.1:6381"), "away"},
		{says("NOREPLICAS Not enough good replicas to write."), "away"},
		{says("UNBLOCKED force unblock from blocking operation"), "away"},
		{says("MISCONF Redis is configured to save RDB snapshots"), "away"},
		{says("EXECABORT Transaction discarded because of previous errors."), "away"},
		{says("ERR max number of clients reached"), "away"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "away"},
		{&net.DNSError{Err: "no such host"}, "away"},
		{context.DeadlineExceeded, "away"},
		{io.EOF, "away"},
		{io.ErrUnexpectedEOF, "away"},
		{redis.ErrClosed, "away"},
		{redis.ErrPoolTimeout, "away"},
		{errors.New("redis: cluster has no nodes"), "away"},
		{errors.New(`redis: can't parse "x"`), "away"}, // torn

		{says("OOM command not allowed when used memory > 'maxmemory'."), "memory"},
		{context.Canceled, "cancelled"},

		{says("WRONGTYPE Operation against a key holding the wrong kind of value"), "fault"},
		{says("NOSCRIPT No matching script. Please use EVAL."), "fault"},
		{says("NOAUTH Authentication required."), "fault"},
		{says("WRONGPASS invalid username-password pair or user is disabled."), "fault"},
		{says("NOPERM this user has no permissions to run the 'evalsha' command"), "fault"},
		{says("CROSSSLOT Keys in request don't hash to the same slot"), "fault"},
		{says("NOGROUP No such consumer group"), "fault"},
		{says("BUSYGROUP Consumer Group name already exists"), "fault"},
		{says("ERR unknown command 'ASKS'"), "fault"},
		{redis.Nil, "fault"},
		{errors.New("redis: unexpected type=int64 for Slice"), "fault"},
		{errors.New("redis: got 3 elements in the XMessage array, expected 2 or 4"), "fault"},
		{errors.New("redis: can't marshal room.Place (implement encoding.BinaryMarshaler)"), "fault"},
		{noNumber, "fault"},
	} {
		err := translate(fmt.Errorf("call: %w", c.err))
		if !strings.HasPrefix(c.err.Error(), "redis: ") { // the client wraps none of its own
			check(t, err, c.want)
		}
		check(t, translate(c.err), c.want)
	}
	if err := translate(nil); err != nil {
		t.Errorf("nil: got %v", err)
	}
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	got := "?"
	switch {
	case errors.Is(err, room.ErrMemory):
		got = "memory"
	case errors.Is(err, context.Canceled):
		got = "cancelled"
	case room.Retryable(err):
		got = "away"
	case room.Fault(err):
		got = "fault"
	}
	if got != want {
		t.Errorf("%v: got %s, want %s", err, got, want)
	}
}

// What a real client makes of a server that is full, of a reply of another kind,
// and of one that ends in the middle.
func TestTranslateOfTheClient(t *testing.T) {
	for reply, want := range map[string]string{
		"-ERR max number of clients reached\r\n": "away",
		"-NOAUTH Authentication required.\r\n":   "fault",
		":7\r\n":                                 "fault", // an array was asked for
		"*2\r\n$2\r\nok\r\n$5\r\nab":             "away",
	} {
		addr := server(t, func(command string) string {
			if command != "evalsha" && !strings.HasPrefix(reply, "-") {
				return "-ERR unknown command\r\n" // the hand-shake, which an older server does not know
			}
			return reply
		})
		rdb, err := Dial("redis://" + addr + "?max_retries=-1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(rdb).Claim(background(), "sale", room.Caller{}, room.Place{})
		check(t, err, want)
		if err := rdb.Close(); err != nil {
			t.Error(err)
		}
	}
}

func open(url string) (redis.UniversalClient, error) { return Server{URL: url}.Open(background()) }

// A start waits for a server that has no room for another client, and not for one
// that refuses this one.
func TestOpenWaits(t *testing.T) {
	var pings atomic.Int32
	rdb, err := open("redis://" + server(t, func(command string) string {
		if command == "ping" && pings.Add(1) > 2 {
			return "+PONG\r\n"
		}
		return "-ERR max number of clients reached\r\n"
	}) + "?max_retries=-1")
	if err != nil {
		t.Fatalf("a full server: got %v, want it awaited", err)
	}
	if err := rdb.Close(); err != nil {
		t.Error(err)
	}
	pings.Store(0)
	_, err = open("redis://" + server(t, func(command string) string {
		if command == "ping" {
			pings.Add(1)
		}
		return "-NOAUTH Authentication required.\r\n"
	}) + "?max_retries=-1")
	if err == nil || !strings.Contains(err.Error(), "NOAUTH") || pings.Load() > 1 {
		t.Errorf("a server that refuses: got %v after %d tries, want its answer at once", err, pings.Load())
	}
}

// server answers each command of a client with what reply says for its name, and
// ends the connection after an answer that is not whole.
func server(t *testing.T, reply func(command string) string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() }) // the clients are closed by then
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				in := bufio.NewScanner(conn)
				for in.Scan() {
					// A command is the count of its words, and two lines for each.
					var words int
					if _, err := fmt.Sscanf(in.Text(), "*%d", &words); err != nil {
						return
					}
					name := ""
					for i := range 2 * words {
						if in.Scan(); i == 1 {
							name = in.Text()
						}
					}
					answer := reply(name)
					if _, err := io.WriteString(conn, answer); err != nil || !strings.HasSuffix(answer, "\r\n") {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}
