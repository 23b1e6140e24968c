package testenv

import (
	"os"
	"strings"
	"testing"

	"waitroom/internal/process"
)

// ReadmeFlags holds the README's table of a binary's flags against the tags that
// -h prints. WAITROOM_UPDATE_README=1 writes the table anew. It is called from
// the directory of a command, two below the README.
func ReadmeFlags(t testing.TB, name string, cli any) {
	t.Helper()
	const path = "../../README.md"
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
		t.Fatalf("README.md has no %s … %s", begin, end)
	}
	if os.Getenv("WAITROOM_UPDATE_README") == "1" {
		if err := os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table {
		t.Errorf("README.md's flags of %s differ from the binary's: run WAITROOM_UPDATE_README=1 go test ./cmd/%s", name, name)
	}
}
