package testenv

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"

	"waitroom/internal/process"
)

// AddressFlag is how a flag takes the address of a machine.
type AddressFlag int

// The three ways.
const (
	Listens  AddressFlag = iota // host:port of our own, without a host every address
	Dials                       // host:port of one server, or of several with commas
	DialsURL                    // redis://host:port, where the port may be left out
)

// addresses is what each of them says of a text: "" for nothing, else what the error has
// in it. A host that nobody knows is told by who dials it.
var addresses = []struct {
	text string
	says [3]string
}{
	{"127.0.0.1:8080", [3]string{}},
	{"[::1]:8080", [3]string{}},
	{"no-such-host.invalid:8080", [3]string{}},
	{"127.0.0.1:0", [3]string{"", "want a port from 1 to 65535", "want a port from 1 to 65535"}},
	{":8080", [3]string{"", "want host:port", "want host:port"}},
	{"", [3]string{"want host:port", "want at least one host:port", "want host:port"}},
	{"localhost", [3]string{"want host:port", "want host:port", ""}},
	{"localhost:", [3]string{"want a port from 0 to 65535", "want a port from 1 to 65535", "want a port from 1 to 65535"}},
	{"localhost:70000", [3]string{"want a port from 0 to 65535", "want a port from 1 to 65535", "want a port from 1 to 65535"}},
	{"localhost:http", [3]string{"want a port from 0 to 65535", "want a port from 1 to 65535", "want a port from 1 to 65535"}},
	{"http://localhost:8080", [3]string{"want host:port and no URL", "want host:port and no URL", "want a port from 1 to 65535"}},
	{"local host:8080", [3]string{"want host:port without spaces", "want host:port without spaces", "want host:port without spaces"}},
	{"::1:8080", [3]string{"want an IPv6 address in brackets", "want an IPv6 address in brackets", "want an IPv6 address in brackets"}},
	{"ann@localhost:8080", [3]string{"want host:port", "want host:port", "a user without a password"}},
}

// urls are flags whose default has an address within a URL, with rules of their own.
var urls = []string{"--jwks", "--shop-url", "--waiting-url"}

// Addresses holds the flags of a binary that take an address against one table: wrong
// ones are wrong flags, told in the same words by all of them. command is a command line
// that is good without them; run reads one and ends before it opens anything. A flag
// whose default looks like an address and that is not named fails.
func Addresses(t *testing.T, name string, cli any, command []string, flags map[string]AddressFlag, run func(args []string, errOut io.Writer) (code int)) {
	t.Helper()
	clean(t)
	known, err := process.FlagTable(name, cli)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(--[a-z-]+) [^|]*\\| `[^`|]*:[0-9]+[^`|]*`").FindAllStringSubmatch(known, -1) {
		if _, named := flags[row[1]]; !named && !strings.Contains(strings.Join(urls, " "), row[1]) {
			t.Errorf("%s takes an address and is not among those that are looked at", row[1])
		}
	}
	for flag, takes := range flags {
		if !strings.Contains(known, "`"+flag+" ") {
			t.Errorf("%s is no flag of %s", flag, name)
		}
		for _, c := range addresses {
			text, want := c.text, c.says[takes]
			if takes == DialsURL {
				text = "redis://" + text
			}
			var errOut bytes.Buffer
			code := run(append(append([]string{}, command...), flag+"="+text), &errOut)
			const wrongFlags = 2
			if wrong := code == wrongFlags; wrong != (want != "") || wrong && !strings.Contains(errOut.String(), want) ||
				wrong && strings.Count(errOut.String(), name+": "+flag) != 1 {
				t.Errorf("%s=%s: got %d, %q, want %q", flag, text, code, errOut.String(), want)
			}
		}
	}
}
