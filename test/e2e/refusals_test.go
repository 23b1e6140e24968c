package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/testenv"
)

// TestWrongFlags: every wrong value of one call is told, by its flag, at once,
// and nothing was opened.
func TestWrongFlags(t *testing.T) {
	enabled(t)
	for _, c := range []struct {
		binary string
		args   []string
		want   []string
	}{
		{"waitroom", []string{"run", "--keys", "none", "--max-connections", "many", "--prefix", "no/slash/", "--drain", "1h"},
			[]string{"--max-connections", "--prefix", "--drain"}},
		{"admitter", []string{"run", "--redis", "http://x", "--rate", "0", "--burst", "few", "--room", "Bad_Name"},
			[]string{"--redis", "--rate", "--burst", "--room"}},
		{"booker", []string{"run", "--db", "oracle://x:geheim@y/z", "--hold", "soon", "--max-seats", "0", "--kafka", "nohost"},
			[]string{"--db", "--hold", "--max-seats", "--kafka"}},
		{"booker", []string{"seats", "--room", "Bad_Name", "--count", "0"}, []string{"--room", "--count"}},
	} {
		out, code := once(t, c.binary, nil, c.args...)
		name := c.binary + " " + strings.Join(c.args, " ")
		if code != 2 {
			t.Errorf("%s: got exit code %d, want 2\n%s", name, code, out)
		}
		for _, flag := range c.want {
			if !strings.Contains(out, flag) {
				t.Errorf("%s: %s is not reported in\n%s", name, flag, out)
			}
		}
		silent(t, "the answer to wrong flags", []byte(out), "geheim")
	}
}

// TestServerAway: a binary whose server does not answer says which one, fails
// with 1, and keeps passwords to itself. An admitter and a booker serve without their
// Kafka, which TestKafkaAwayAtStart and TestSellsWithoutKafka show.
func TestServerAway(t *testing.T) {
	enabled(t)
	t.Parallel() // it only waits, so it does beside a fleet
	kafka := testenv.Kafka(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	must(t, "waitroom", nil, "keys", "new", "--file", keys)
	away := address(t) // nobody listens there
	awayDB := fmt.Sprintf("mysql://waitroom:geheim@%s/waitroom", away)
	awayRedis := fmt.Sprintf("redis://:geheim@%s/0", away)
	for _, c := range []struct {
		binary, server string
		env, args      []string
	}{
		{"waitroom", "redis", []string{"WAITROOM_REDIS=" + awayRedis}, []string{"run", "--keys", keys}},
		{"admitter", "redis", []string{"WAITROOM_REDIS=" + awayRedis, "WAITROOM_KAFKA=" + kafka}, []string{"run"}},
		{"booker", "--db", []string{"WAITROOM_KAFKA=" + kafka, "WAITROOM_DB=" + awayDB}, []string{"run"}},
		{"booker", "--db", []string{"WAITROOM_DB=" + awayDB}, []string{"seats", "--room", "a", "--count", "1", "--new"}},
		{"admitter", "redis", []string{"WAITROOM_REDIS=" + awayRedis}, []string{"status"}},
	} {
		t.Run(c.binary+" "+c.args[0]+" without "+strings.Trim(c.server, "-"), func(t *testing.T) {
			t.Parallel() // each waits for its server for some seconds
			args := c.args
			if args[0] == "run" {
				args = append(args, "--ops-listen", address(t))
				if c.binary != "admitter" {
					args = append(args, "--listen", address(t))
				}
			}
			out, code := once(t, c.binary, c.env, args...)
			if code != 1 {
				t.Errorf("got exit code %d, want 1\n%s", code, out)
			}
			if !strings.Contains(out, c.server) || !strings.Contains(out, away) {
				t.Errorf("the error does not name %s and %s:\n%s", c.server, away, out)
			}
			silent(t, "the error", []byte(out), "geheim")
		})
	}
}

// TestTakenPort: a port that somebody has is told by its flag.
func TestTakenPort(t *testing.T) {
	enabled(t)
	redis := testenv.RedisURL(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	must(t, "waitroom", nil, "keys", "new", "--file", keys)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, code := once(t, "waitroom", []string{"WAITROOM_REDIS=" + redis}, "run", "--keys", keys, "--listen", l.Addr().String(), "--ops-listen", address(t))
	if code != 1 || !strings.Contains(out, "--listen") || !strings.Contains(out, l.Addr().String()) {
		t.Errorf("got exit code %d, want 1 and an error that names --listen %s\n%s", code, l.Addr(), out)
	}
}
