// Package e2e runs the built binaries as processes against the real servers,
// kills and restarts each of them in the middle of a sale, and then balances
// the books: seats, visitors, numbers, admissions.
//
// It runs where WAITROOM_E2E=1 and the servers of internal/testenv are given;
// elsewhere each test skips with one line. Bookers and admitters of any other
// sale on the same Kafka are in the same consumer groups and would take the
// events of this one: no other fleet may run there meanwhile.
package e2e

import (
	"bytes"
	"flag"
	"os"
	"sync"
	"testing"

	"waitroom/test/internal/child"
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// The default, the number of cores, is for tests that compute. Here one fleet
		// runs at a time, and what runs beside it waits for servers that are away: six
		// processes, the fleet's test, and two to spare.
		_ = flag.Set("test.parallel", "9")
	}
	os.Exit(child.Main(m))
}

// stage has room for one fleet: all of them are in the same consumer groups.
var stage sync.Mutex

// alone makes a test parallel to those that have no fleet.
func alone(t *testing.T) {
	t.Parallel()
	stage.Lock()
	t.Cleanup(stage.Unlock)
}

// The words of this package's stories.
var (
	enabled = child.Need
	once    = child.Once
	must    = child.Must
	await   = child.Await
	address = child.Address
)

// secrets are what no log and no message may hold: the beginning of every JWT
// and of every base64 JSON header, and the database's password with its colon.
var secrets = []string{"eyJ", `"d":"`}

// silent wants none of the secrets in text.
func silent(t *testing.T, where string, text []byte, more ...string) {
	t.Helper()
	for _, secret := range append(more, secrets...) {
		if at := bytes.Index(text, []byte(secret)); secret != "" && at >= 0 {
			line := text[bytes.LastIndexByte(text[:at], '\n')+1 : at]
			t.Errorf("%s holds a secret (it begins with %.3q) after %q", where, secret, line)
		}
	}
}
