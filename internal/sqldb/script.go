package sqldb

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// migration is one file: 00003_facts.sql.
type migration struct {
	version    int64
	name       string // of the file
	statements []string
}

// readMigrations reads the files of a folder in the order of their versions.
func readMigrations(fsys fs.FS, folder string) ([]migration, error) {
	paths, err := fs.Glob(fsys, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, path := range paths {
		text, err := fs.ReadFile(fsys, path)
		if err != nil {
			return nil, err
		}
		m := migration{name: strings.TrimSuffix(path[len(folder)+1:], ".sql")}
		number, _, _ := strings.Cut(m.name, "_")
		if m.version, err = strconv.ParseInt(number, 10, 64); err != nil || m.version < 1 {
			return nil, fmt.Errorf("%s: want a name that begins with its version", path)
		}
		if m.statements, err = statementsOf(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b migration) int { return int(a.version - b.version) })
	if len(list) == 0 {
		return nil, fmt.Errorf("no file in %s", folder)
	}
	for i := range list[1:] {
		if list[i].version == list[i+1].version {
			return nil, fmt.Errorf("%s and %s have one version", list[i].name, list[i+1].name)
		}
	}
	return list, nil
}

// statementsOf returns what stands between "-- +goose Up" and "-- +goose Down" or the
// end: statements that end with a semicolon at the end of a line. "--" begins a comment
// wherever it stands, so it must not be part of a text.
func statementsOf(text string) (list []string, err error) {
	var statement strings.Builder
	up := false
	for line := range strings.Lines(text) {
		if word, ok := strings.CutPrefix(strings.TrimSpace(line), "-- +goose "); ok {
			switch word {
			case "Up":
				up = true
			case "Down":
				up = false
			default:
				return nil, fmt.Errorf("-- +goose %s is not known here", word)
			}
			continue
		}
		line, _, _ = strings.Cut(line, "--")
		if line = strings.TrimSpace(line); !up || line == "" {
			continue
		}
		statement.WriteString(line + "\n")
		if strings.HasSuffix(line, ";") {
			list = append(list, strings.TrimSuffix(statement.String(), ";\n"))
			statement.Reset()
		}
	}
	if statement.Len() > 0 || len(list) == 0 {
		return nil, fmt.Errorf("want statements that end with a semicolon, under -- +goose Up")
	}
	return list, nil
}
