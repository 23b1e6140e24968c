package testenv_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"waitroom/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A variable that is not set skips, whatever the machine has.
func TestSkipsWithoutServer(t *testing.T) {
	t.Setenv("WAITROOM_TEST_REDIS", "")
	t.Setenv("WAITROOM_TEST_REDIS_CLUSTER", "")
	t.Setenv("WAITROOM_TEST_KAFKA", "")
	t.Setenv("WAITROOM_TEST_DB", "")
	for name, take := range map[string]func(*testing.T){
		"redis":         func(t *testing.T) { testenv.Redis(t) },
		"redis process": func(t *testing.T) { testenv.StartRedis(t) },
		"cluster":       func(t *testing.T) { testenv.Cluster(t) },
		"own cluster":   func(t *testing.T) { testenv.StartRedisCluster(t) },
		"kafka":         func(t *testing.T) { testenv.Kafka(t) },
		"db":            func(t *testing.T) { testenv.MySQL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if !t.Skipped() {
					t.Errorf("got a server, want a skipped test")
				}
			}()
			take(t)
		})
	}
}

func TestNames(t *testing.T) {
	room := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	seen := map[string]bool{}
	for _, name := range []string{"short", "__ / Ünïcode & spaces", strings.Repeat("long", 40), "____"} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				got := testenv.Room(t)
				if !room.MatchString(got) || seen[got] {
					t.Errorf("Room: got %q, want a new name that matches %v", got, room)
				}
				seen[got] = true
			}
		})
	}
	if a, b := testenv.Topic(t, "waitroom.admitted"), testenv.Topic(t, "waitroom.admitted"); a == b ||
		!strings.HasPrefix(a, "waitroom.admitted-") {
		t.Errorf("Topic: got %q and %q, want two names that start with waitroom.admitted-", a, b)
	}
}

// Each server handed out leaves one line, which .ci/run counts.
func TestCount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "count")
	t.Setenv("WAITROOM_TEST_COUNT", file)
	testenv.RedisURL(t)
	testenv.MySQL(t)
	testenv.Kafka(t)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "redis TestCount\ndb TestCount\nkafka TestCount\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A room's keys and its entry in the registry end with the test that made it,
// and those of a room whose name only begins alike stay.
func TestRoomIsForgotten(t *testing.T) {
	client := testenv.Redis(t)
	ctx := t.Context()
	longer := ""
	var room string
	t.Run("a test", func(t *testing.T) {
		room = testenv.Room(t)
		longer = room + "-2"
		for _, name := range []string{room, longer} {
			if err := client.Set(ctx, "wr1:{"+name+"}:seq", 1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.SAdd(ctx, "wr1:rooms", name).Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
	defer client.Del(ctx, "wr1:{"+longer+"}:seq")
	defer client.SRem(ctx, "wr1:rooms", longer)
	for name, want := range map[string]bool{room: false, longer: true} {
		exists, err := client.Exists(ctx, "wr1:{"+name+"}:seq").Result()
		if err != nil || (exists == 1) != want {
			t.Errorf("key of %s: got %d, %v, want it there: %v", name, exists, err, want)
		}
		listed, err := client.SIsMember(ctx, "wr1:rooms", name).Result()
		if err != nil || listed != want {
			t.Errorf("registry of %s: got %v, %v, want %v", name, listed, err, want)
		}
	}
}

func TestMySQL(t *testing.T) {
	var dsn string
	t.Run("a test", func(t *testing.T) {
		dsn = testenv.MySQL(t)
		db := open(t, dsn)
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE seat (id INT PRIMARY KEY)"); err != nil {
			t.Fatalf("the database of a test: %v", err)
		}
		if other := testenv.MySQL(t); other == dsn {
			t.Errorf("got %q twice, want two databases", dsn)
		}
	})
	if dsn == "" {
		t.Skip("needs a real server")
	}
	const unknownDatabase = 1049
	err := open(t, dsn).PingContext(t.Context())
	if e := (*mysql.MySQLError)(nil); !errors.As(err, &e) || e.Number != unknownDatabase {
		t.Errorf("after the test: got %v, want error %d, unknown database", err, unknownDatabase)
	}
}

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	rest, ok := strings.CutPrefix(dsn, "mysql://")
	if !ok {
		t.Fatalf("got DSN %q, want mysql://", dsn)
	}
	login, place, _ := strings.Cut(rest, "@")
	host, name, _ := strings.Cut(place, "/")
	db, err := sql.Open("mysql", login+"@tcp("+host+")/"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// The data outlives a stop, a kill -9 and a restart without one of both, on the
// same port; a paused server answers nobody until it is resumed.
func TestStartRedis(t *testing.T) {
	server := testenv.StartRedis(t)
	client := server.Client()
	ctx := t.Context()
	incr := func(want int64) {
		t.Helper()
		got, err := client.Incr(ctx, "n").Result()
		if err != nil || got != want {
			t.Fatalf("INCR: got %d, %v, want %d", got, err, want)
		}
	}
	// The client's pool still holds connections to the server that was; it finds
	// that out, and dials anew, by an error of one call at most.
	settle := func() {
		t.Helper()
		for client.Ping(ctx).Err() != nil {
			if ctx.Err() != nil {
				t.Fatal(ctx.Err())
			}
		}
	}

	incr(1)
	server.Kill()
	if err := client.Ping(ctx).Err(); err == nil {
		t.Errorf("PING after Kill: got an answer, want an error")
	}
	server.Restart()
	settle()
	incr(2)
	server.Stop()
	server.Stop()
	server.Restart()
	settle()
	incr(3)
	server.Restart()
	settle()
	incr(4)

	server.Pause()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	impatient := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer impatient.Close()
	if err := impatient.Ping(short).Err(); !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		t.Errorf("PING of a paused server: got %v, want a timeout", err)
	}
	server.Resume()
	incr(5)
	server.Pause() // and the end of the test ends a paused one
}
