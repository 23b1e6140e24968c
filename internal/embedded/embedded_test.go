package embedded_test

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"waitroom/internal/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, // a closed server shows at once
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { client.Close() })
	return client
}

// Lua sees the wall clock: the line's time and the demo's deadlines rest on it.
func TestRedisTime(t *testing.T) {
	_, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client := dial(t, addr)
	script := redis.NewScript(`
		local t = redis.call('TIME')
		return string.format('%.0f', t[1] * 1000000 + t[2])`)
	before := time.Now().UnixMicro()
	text, err := script.Run(t.Context(), client, nil).Text()
	after := time.Now().UnixMicro()
	if err != nil {
		t.Fatal(err)
	}
	got, err := strconv.ParseInt(text, 10, 64)
	if err != nil || got < before || got > after {
		t.Errorf("TIME in Lua: got %s µs, %v, want from %d to %d", text, err, before, after)
	}
}

// A key with a time-to-live ends by itself and at its time, not before; the
// clock is moved by hand so that the test waits for nothing.
func TestRedisExpiry(t *testing.T) {
	server, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client := dial(t, addr)
	ctx := t.Context()
	now := time.Now()
	server.SetTime(now)
	if err := client.Set(ctx, "lane", 1, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  int64
	}{{0, 1}, {time.Hour - time.Millisecond, 1}, {time.Hour, 0}} {
		server.SetTime(now.Add(step.after))
		if got, err := client.Exists(ctx, "lane").Result(); err != nil || got != step.want {
			t.Errorf("after %v: got %d keys, %v, want %d", step.after, got, err, step.want)
		}
	}

	// The same by the wall clock, as the demo runs it.
	server.SetTime(time.Time{})
	if err := client.Set(ctx, "lane", 1, 10*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		got, err := client.Exists(ctx, "lane").Result()
		if err != nil {
			t.Fatal(err)
		}
		if got == 0 {
			return
		}
	}
}

// The data outlives a close and a restart of the server, which is how a quick
// test takes Redis away.
func TestRedisRestart(t *testing.T) {
	server, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client := dial(t, addr)
	ctx := t.Context()
	if err := client.Set(ctx, "seq", 7, 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := client.Get(ctx, "seq").Err(); err == nil {
		t.Errorf("GET of a closed server: got an answer, want an error")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if got, err := dial(t, addr).Get(ctx, "seq").Int(); err != nil || got != 7 {
		t.Errorf("after the restart: got %d, %v, want 7", got, err)
	}
	stop()
	stop() // more than once is allowed
}

func TestSQLitePath(t *testing.T) {
	dsn, stop, err := embedded.SQLitePath()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "sqlite" || !filepath.IsAbs(u.Path) {
		t.Fatalf("got DSN %q, %v, want sqlite:// and an absolute path", dsn, err)
	}
	db, err := sql.Open("sqlite", u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE seat (id INTEGER PRIMARY KEY)"); err != nil {
		t.Errorf("make a table in %s: %v", u.Path, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	stop()
	stop() // more than once is allowed
	if _, err := os.Stat(filepath.Dir(u.Path)); !os.IsNotExist(err) {
		t.Errorf("after stop: got %v, want the folder gone", err)
	}
}
