package line

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/testenv"
)

// warned is what Check warns of, on a server that may hold a line.
func warned(t *testing.T, rdb redis.UniversalClient) []string {
	t.Helper()
	warnings, err := Check(background(), rdb, RoleAll)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	return warnings
}

func dial(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	rdb, err := Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Each setting that may lose a line has one line of text, which names the server and
// what to set.
func TestCheckWarns(t *testing.T) {
	server := testenv.StartRedis(t)
	admin, rdb, ctx := server.Client(), dial(t, server.URL()), background()
	if got := warned(t, rdb); len(got) != 0 {
		t.Fatalf("a good server: got %q, want nothing", got)
	}
	for _, c := range []struct{ setting, bad, good, want string }{
		{"appendonly", "no", "yes", "append-only"},
		{"maxmemory-policy", "allkeys-lru", "noeviction", "set noeviction"},
		{"maxmemory", "1000000", "0", "memory is full"},
		{"min-replicas-to-write", "1", "0", "min-replicas-to-write is not met"},
	} {
		if err := admin.ConfigSet(ctx, c.setting, c.bad).Err(); err != nil {
			t.Fatal(err)
		}
		got := warned(t, rdb)
		if len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], "redis "+server.Addr()+": ") || strings.Contains(got[0], "\n") {
			t.Errorf("%s %s: got %q, want one line with %q", c.setting, c.bad, got, c.want)
		}
		if err := admin.ConfigSet(ctx, c.setting, c.good).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A replica ends the start; its master is told how not to lose what it takes alone.
func TestCheckReplica(t *testing.T) {
	master := testenv.StartRedis(t, "--repl-diskless-sync-delay", "0")
	_, port, _ := strings.Cut(master.Addr(), ":")
	replica := testenv.StartRedis(t, "--replicaof", "127.0.0.1 "+port)
	awaitInfo(t, replica.Client(), "master_link_status:up")
	if got := warned(t, dial(t, master.URL())); len(got) != 1 || !strings.Contains(got[0], "min-replicas-max-lag 10") {
		t.Errorf("a master with a replica: got %q, want the advice on min-replicas-to-write", got)
	}
	_, err := Check(background(), dial(t, replica.URL()), RoleAll)
	if err == nil || !strings.Contains(err.Error(), replica.Addr()+": this is a replica of "+master.Addr()) {
		t.Errorf("a replica: got %v, want an error that names its master", err)
	}
	if err := master.Client().ConfigSet(background(), "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	awaitInfo(t, master.Client(), "min_slaves_good_slaves:1")
	if got := warned(t, dial(t, master.URL())); len(got) != 0 {
		t.Errorf("as advised: got %q, want nothing", got)
	}
}

func awaitInfo(t *testing.T, c *redis.Client, want string) {
	t.Helper()
	eventually(t, want, func() bool { return strings.Contains(c.Info(background(), "replication").Val(), want) })
}

// What no real server here is: older ones, and a Sentinel, by what they answer.
func TestCheckByInfo(t *testing.T) {
	for info, want := range map[string]string{
		"redis_version:6.2.14\r\nredis_mode:standalone\r\nrole:master\r\n": "version 6.2.14, want 7.0",
		"redis_version:7.2.4\r\nredis_mode:sentinel\r\n":                   "redis-sentinel://",
		"redis_version:7.0.0\r\nredis_mode:standalone\r\nrole:master\r\n":  "",
		"redis_version:8.2.1\r\nredis_mode:standalone\r\nrole:master\r\n":  "",
		"redis_version:10.0.0\r\nredis_mode:standalone\r\nrole:master\r\n": "",
	} {
		addr := server(t, func(command string) string {
			switch command {
			case "info":
				return bulk(info)
			case "eval":
				return "*0\r\n"
			}
			return "-ERR unknown command\r\n"
		})
		warnings, err := Check(background(), dial(t, "redis://"+addr), RoleAll)
		if len(warnings) > 0 || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v, want an error with %q", info, warnings, err, want)
		}
	}
	if got := warned(t, mini(t)); len(got) != 0 {
		t.Errorf("miniredis: got %q, want nothing of a server that does not tell", got)
	}
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

// eventually waits for a fact of another process, half a minute at most.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.After(30 * time.Second) // as long as a loaded machine has been seen to take
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited half a minute for: %s", what)
		}
	}
}
