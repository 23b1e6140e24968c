package embedded

import (
	"fmt"
	"os"
	"path/filepath"
)

// SQLitePath makes a folder for one SQLite database and returns the DSN of a
// file in it, "sqlite:///…/waitroom.db"; opening it makes the file. stop removes
// the folder: a file and not ":memory:", since there every connection of a pool
// would see a database of its own. Close the database before stop.
func SQLitePath() (dsn string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "waitroom-sqlite-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for SQLite: %w", err)
	}
	// The folder is in the system's temporary one: what can't be removed there
	// is the system's to remove, and nobody could act on the error.
	stop = func() { _ = os.RemoveAll(dir) }
	return "sqlite://" + filepath.Join(dir, "waitroom.db"), stop, nil
}
