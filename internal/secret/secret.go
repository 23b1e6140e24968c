// Package secret reads passwords from files, so that one way of writing such a file is
// right for every server. It keeps nothing: who connects anew reads anew.
package secret

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// most is more bytes than any password has.
const most = 4096

// Read returns the first line of a file, without its end. An empty one is an error; what
// the file holds is in none.
func Read(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return "", fmt.Errorf("%s: no password in its first line", name)
	}
	return string(line), nil
}
