package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		"s3cret":                    "s3cret",
		"s3cret\n":                  "s3cret",
		"s3cret\r\nnext":            "s3cret",
		" with spaces \n":           " with spaces ",
		"":                          "",
		"\n":                        "",
		"\r\n":                      "",
		"\ns3cret":                  "",
		strings.Repeat("x", most+1): strings.Repeat("x", most),
		"é\tü":                      "é\tü",
	} {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(file)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%.20q: got %.20q, %v, want %.20q", text, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.20q: the error says it: %v", text, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "nowhere")); !os.IsNotExist(err) {
		t.Errorf("no such file: got %v", err)
	}
}
