package line

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

var (
	comment  = regexp.MustCompile(`--.*`)
	quoted   = regexp.MustCompile(`'[^']*'`)
	operands = regexp.MustCompile(`([\w.\[\]()]+)\s*\.\.\s*([\w.\[\]()]+)`)
	// What holds text: a literal, what text() returns, an argument, and names that
	// scripts give to text only.
	isText = regexp.MustCompile(`^(S|text\(\w+\)|ARGV\[\d+\]|KEYS\[\d+\]|field)$`)
)

// Lua's own conversion of numbers cuts microseconds on Redis and not on
// miniredis, and neither has the libraries of the other.
func TestLuaTraps(t *testing.T) {
	files, err := fs.Glob(sources, "lua/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d scripts, %v", len(files), err)
	}
	for _, file := range files {
		text, err := sources.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range luaFaults(string(text)) {
			t.Errorf("%s: %s", file, fault)
		}
		if file == "lua/prelude.lua" || file == "lua/clock.lua" {
			continue
		}
		for _, part := range []string{"\n-- KEYS  ", "\n-- ARGV  ", "\n-- reply "} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s: its header has no %q", file, part)
			}
		}
	}
	for _, bad := range []string{"x = tostring(now)", "x = 'a' .. now", "x = now..'a'", "bit.band(1, 2)", "x = text(a) .. b", "cmsgpack.pack(x)"} {
		if len(luaFaults(bad)) == 0 {
			t.Errorf("%q passes as harmless", bad)
		}
	}
}

func luaFaults(text string) (faults []string) {
	for _, line := range strings.Split(text, "\n") {
		code := quoted.ReplaceAllString(comment.ReplaceAllString(line, ""), "S")
		for _, trap := range []string{"tostring", "bit.", "struct.", "cmsgpack", "#!lua"} {
			if strings.Contains(code, trap) {
				faults = append(faults, trap+": "+line)
			}
		}
		// Each pair of operands; they may share one.
		for rest := code; ; {
			at := operands.FindStringSubmatchIndex(rest)
			if at == nil {
				break
			}
			for _, operand := range []string{rest[at[2]:at[3]], rest[at[4]:at[5]]} {
				operand = strings.TrimLeft(operand, "(")
				if strings.Count(operand, "(") < strings.Count(operand, ")") {
					operand = strings.TrimRight(operand, ")")
					if strings.Contains(operand, "(") {
						operand += ")"
					}
				}
				if !isText.MatchString(operand) {
					faults = append(faults, "`"+operand+"` may be a number: "+line)
				}
			}
			rest = rest[at[4]:]
		}
	}
	return faults
}
