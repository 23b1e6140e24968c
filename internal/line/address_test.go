package line

import (
	"slices"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		url  string
		want string // its String
		is   topology
	}{
		{"redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379", single},
		{"redis://cache", "redis://cache:6379", single},
		{"redis://ann:se%2Fcr%40et@cache:1/3?pool_size=7&max_retries=-1", "redis://cache:1/3", single},
		{"redis://:a:b@[::1]:7/", "redis://[::1]:7", single},
		{"rediss://[::1]", "rediss://[::1]:6379", single},
		{"unix://ann:secret@/run/redis.sock?db=2", "unix:///run/redis.sock", single},
		{"redis://a:1?addr=b:2&addr=c:3", "redis-cluster://a:1,b:2,c:3", cluster},
		{"redis://ann:secret@a:1,b,c:3/0", "redis-cluster://a:1,b:6379,c:3", cluster},
		{"redis-cluster://a:1", "redis-cluster://a:1", cluster},
		{"rediss-cluster://a,b", "rediss-cluster://a:6379,b:6379", cluster},
		{"redis-sentinel://ann:secret@a,b:1/sale", "redis-sentinel://a:26379,b:1/sale", sentinel},
		{"rediss-sentinel://a/sale/4", "rediss-sentinel://a:26379/sale/4", sentinel},
	} {
		a, err := parseAddress(c.url)
		if err != nil || a.String() != c.want || a.topology != c.is {
			t.Errorf("%s: got %s of kind %d, %v, want %s of kind %d", c.url, a, a.topology, err, c.want, c.is)
		}
	}
	a, err := parseAddress("redis://ann:se%2Fcr%40et@cache:1/3?pool_size=7&max_retries=-1")
	if err != nil || a.user != "ann" || a.password != "se/cr@et" || a.db != 3 || a.poolSize != 7 || a.retries != -1 ||
		!slices.Equal(a.hosts, []string{"cache:1"}) {
		t.Errorf("parts: got %+v, %v", a, err)
	}
}

// Each wrong URL is refused with what is wrong, and with nothing of what may be a
// password.
func TestWrongAddress(t *testing.T) {
	for url, want := range map[string]string{
		"":                                     "want a URL",
		":":                                    "want a URL",
		"nope:secret":                          "want a URL",
		"http://secret":                        "begins with",
		"redis://":                             "host:port",
		"redis://user:secret@host:port:x/0":    "host 1",
		"redis://user:secret@host:0":           "port",
		"redis://user:secret@host:65536":       "port",
		"redis://:secret@[":                    "host 1",
		"redis://:sec%zzret@host":              "%",
		"redis://user:sec/ret@host:1":          "port",
		"redis://user:sec?ret@host:1":          "%3F",
		"redis://user:1/secret@host:1":         "database",
		"redis://host/secret":                  "database",
		"redis://host/1/secret":                "too many",
		"redis://host/-1":                      "database",
		"redis://host?secret=1":                "pool_size",
		"redis://host?pool_size=secret":        "pool_size",
		"redis://host?pool_size=0":             "pool_size",
		"redis://host?max_retries=11":          "max_retries",
		"redis://host?read_timeout=secret":     "parameter",
		"redis://a,b/1":                        "database 0",
		"redis://a,,b":                         "host 2",
		"redis-cluster://a?read_only=secret":   "parameter",
		"redis-cluster://a?max_retries=3":      "parameter",
		"redis-sentinel://a":                   "name of the master",
		"redis-sentinel://a/sale?addr=secret":  "parameter",
		"rediss://a/x?addr=%zz":                "read",
		"redis://a?addr=sec ret":               "host 2",
		"unix://run/secret":                    "whole path",
		"unix:///run/redis.sock?secret=1":      "db",
		"unix:///run/redis.sock?db=1&secret=1": "db",
	} {
		err := Server{URL: url}.Check()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "--redis: ") {
			t.Errorf("%q: got %v, want one line about %q", url, err, want)
		}
		if text := err.Error() + (Server{URL: url}).String(); strings.Contains(text, "sec") && !strings.Contains(text, "section") {
			t.Errorf("%q: got %q, which tells of the password", url, text)
		}
	}
}
