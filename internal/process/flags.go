package process

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// FlagTable is the Markdown table of every flag of cli, command by command, out
// of the same tags that -h prints; the README holds it and a test compares.
func FlagTable(name string, cli any) (string, error) {
	parser, err := kong.New(cli, kong.Name(name), kong.Exit(func(int) {}))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	flagRows(&b, parser.Model.Node, name)
	return b.String(), nil
}

func flagRows(b *strings.Builder, node *kong.Node, path string) {
	var rows []string
	for _, f := range node.Flags {
		if f.Name == "help" || f.Hidden {
			continue
		}
		value, def, env := "", "", ""
		if !f.IsBool() {
			value = " " + strings.ReplaceAll(f.FormatPlaceHolder(), "|", `\|`)
			if f.HasDefault {
				value = " " + strings.ToUpper(f.Name)
			}
		}
		if f.HasDefault && f.Default != "" {
			def = "`" + f.Default + "`"
		}
		if len(f.Envs) > 0 {
			env = "`" + strings.Join(f.Envs, "`, `") + "`"
		}
		rows = append(rows, fmt.Sprintf("| `--%s%s` | %s | %s | %s |\n", f.Name, value, def, env, strings.ReplaceAll(f.Help, "|", `\|`)))
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n`%s`\n\n| flag | default | environment | meaning |\n|---|---|---|---|\n%s", path, strings.Join(rows, ""))
	}
	for _, child := range node.Children {
		name := child.Name
		for _, p := range child.Positional {
			name += " " + strings.ToUpper(p.Name)
		}
		flagRows(b, child, path+" "+name)
	}
}
