package booking_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sources are the packages whose statements a booker sends in its work.
var sources = []string{".", "../outbox", "../seatmap"}

// elsewhere are statements that no booker on MariaDB sends, and why.
var elsewhere = map[string]string{
	"INSERT OR IGNORE":                                                            "SQLite's",
	"SELECT id, lane FROM facts WHERE id IN ()":                                   "SQLite's",
	"UPDATE facts SET lane = ? WHERE id IN ()":                                    "SQLite's",
	"SELECT * FROM (SELECT lane FROM \x00 WHERE ? ORDER BY lane LIMIT ?) AS gap1": "pieced together; loopAll awaits it",
	"SELECT * FROM (?) AS part1":                                                  "pieced together; loopAll awaits it",
	"SELECT id, hold, booking, spent_ms FROM admissions WHERE id = ?":             "asked by tests",
}

// unmet fails for each statement that stands in the sources and is none of those that
// ran: what nobody runs nobody explains.
func unmet(t *testing.T, ran map[string]string) {
	t.Helper()
	all := make([]string, 0, len(ran))
	for shape := range ran {
		all = append(all, plainLists(shape))
	}
	found := 0
	for _, folder := range sources {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(folder), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, parts := range statementsOf(parsed) {
				found++
				if _, not := elsewhere[strings.Join(parts, "")]; not {
					continue
				}
				want := written(parts)
				met := false
				for _, shape := range all {
					met = met || want.MatchString(shape)
				}
				if !met {
					t.Errorf("%s: no statement that ran is %q: have it run in this test", file, parts)
				}
			}
		}
	}
	if found < 40 { // there are some seventy
		t.Errorf("found %d statements in the sources", found)
	}
}

// plainLists writes lists of any length as one value.
func plainLists(shape string) string { return strings.ReplaceAll(shape, "?…", "?") }

// begins is how a statement begins, or a condition that is put into one.
var begins = regexp.MustCompile(`^\s*(SELECT|UPDATE|DELETE|INSERT|REPLACE|AND|FOR UPDATE) `)

// statementsOf are the texts of a file that begin as statements do, with what is joined to
// them: "" stands for what is no text.
func statementsOf(file *ast.File) (list [][]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		parts := joinedTexts(e)
		if !begins.MatchString(parts[0]) {
			_, sum := e.(*ast.BinaryExpr)
			return !sum || parts[0] == ""
		}
		for i, p := range parts {
			if p != "" {
				parts[i] = shape(strings.NewReplacer("FROM %s", "FROM \x00", "%s", "1", "%d", "1", "%%", "%").Replace(p))
				if i == 0 {
					parts[i] = strings.TrimLeft(parts[i], " ")
				}
			}
		}
		list = append(list, parts)
		return false
	})
	return list
}

// joinedTexts are the operands of a sum of texts.
func joinedTexts(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return append(joinedTexts(e.X), joinedTexts(e.Y)...)
		}
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			if s, err := strconv.Unquote(e.Value); err == nil {
				return []string{s}
			}
		}
	}
	return []string{""}
}

// written matches a statement that was made of parts.
func written(parts []string) *regexp.Regexp {
	var b strings.Builder
	for _, p := range parts {
		if p == "" {
			p = "\x00"
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(plainLists(p)), "\x00", ".*"))
	}
	return regexp.MustCompile(b.String())
}
