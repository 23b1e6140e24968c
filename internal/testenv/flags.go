package testenv

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"waitroom/internal/process"
)

// FlagsDoc holds a binary's tables of docs/flags.md against the tags that -h
// prints. `go generate ./cmd/...` writes them anew, one binary after the other. It
// is called from the directory of a command, two below the root.
func FlagsDoc(t testing.TB, name string, cli any) {
	t.Helper()
	const path = "../../docs/flags.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table, err := process.FlagTable(name, cli)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- flags of "+name+" -->\n", "<!-- end of "+name+" -->"
	head, rest, ok := strings.Cut(string(b), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/flags.md has no %s … %s", begin, end)
	}
	if os.Getenv("WAITROOM_UPDATE_FLAGS") == "1" {
		if err := os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table {
		t.Errorf("docs/flags.md's flags of %s differ from the binary's: run go generate ./cmd/...", name)
	}
}

// Defaults reads args into flags, a pointer to a struct with kong's tags, as a binary does
// whose environment says nothing of us: what args leave out has its default.
func Defaults(t *testing.T, flags any, args ...string) {
	t.Helper()
	clean(t)
	parser, err := kong.New(flags)
	if err == nil {
		_, err = parser.Parse(args)
	}
	if err != nil {
		t.Fatal(err)
	}
}
