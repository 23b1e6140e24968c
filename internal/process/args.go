package process

import (
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

var negative = regexp.MustCompile(`^-[0-9.]`)

// joinNegative writes `--flag -5` as `--flag=-5`. kong takes -5 for a short flag
// and stops there, which would hide every other wrong value; no flag of ours is a
// digit. What follows a switch, or `--`, stays as it is.
func joinNegative(node *kong.Node, args []string) []string {
	valued := map[string]bool{}
	mark(node, valued)
	var joined []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(joined, args[i:]...)
		}
		name, long := strings.CutPrefix(args[i], "--")
		if long && valued[name] && i+1 < len(args) && negative.MatchString(args[i+1]) {
			joined = append(joined, args[i]+"="+args[i+1])
			i++
			continue
		}
		joined = append(joined, args[i])
	}
	return joined
}

// mark notes the flags that take a value, of all commands.
func mark(node *kong.Node, valued map[string]bool) {
	for _, f := range node.Flags {
		if !f.IsBool() && !f.IsCounter() {
			valued[f.Name] = true
		}
	}
	for _, child := range node.Children {
		mark(child, valued)
	}
}
