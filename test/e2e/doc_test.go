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
	"os"
	"testing"

	"waitroom/test/internal/child"
)

func TestMain(m *testing.M) { os.Exit(child.Main(m)) }

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
