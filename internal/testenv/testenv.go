package testenv

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// wait bounds each call to a server that this package makes itself. An idle
// server needs milliseconds; half a minute is for a machine that runs the race
// detector over every package at once.
const wait = 30 * time.Second

// address is the value of the variable that names a server; it skips the test
// when there is none, and counts the test otherwise.
func address(t testing.TB, server, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Skipf("needs a real server: %s is not set", variable)
	}
	count(t, server)
	return value
}

// count appends one line to the file named by WAITROOM_TEST_COUNT. One write of
// a short line to a file opened with O_APPEND stays whole among the many test
// processes that share it.
func count(t testing.TB, server string) {
	t.Helper()
	name := os.Getenv("WAITROOM_TEST_COUNT")
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("WAITROOM_TEST_COUNT: %v", err)
	}
	_, err = fmt.Fprintf(file, "%s %s\n", server, t.Name())
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatalf("WAITROOM_TEST_COUNT: %v", err)
	}
}

// suffix is random and not counted, because the processes of a test run don't
// know of each other: 32 bits, and a name carries the test's name as well.
func suffix() string {
	var b [4]byte
	rand.Read(b[:]) // never fails, see its documentation
	return hex.EncodeToString(b[:])
}

// slug is a name in the characters a-z, 0-9 and -, of at most size bytes, and it
// starts with a letter or digit.
func slug(name string, size int) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0:
			b.WriteByte('-')
		}
		if b.Len() >= size {
			break
		}
	}
	if b.Len() == 0 {
		return "t"
	}
	return b.String()
}
